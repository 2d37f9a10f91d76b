"""The first process of a container: it makes the container, waits for ``start``, and becomes the
command.

    create ──── the maker: enters the namespaces
                └── the first process, if the container has a PID namespace: then the maker ends

Without a PID namespace the maker is the first process.  ``create`` ends before the first process,
whose parent is then the caller, if that is a subreaper (conmon and buildah are).  Until the first
process has said that it is ready, it and ``create`` talk through a socket; ``link`` has the
messages.

Nothing of the image runs before ``start``, so the first process may be traced until then: hooks
look at its namespaces.
"""

from __future__ import annotations

import os

from sundog.base.cpython import AF_UNIX, SOCK_SEQPACKET, socket
from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import checked, escaped, libc_call, printable
from sundog.base.kernel.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    setns,
    unshare,
)
from sundog.base.kernel.network import bring_up_loopback
from sundog.base.kernel.process import fork, set_dumpable, set_pdeathsig
from sundog.errors import KernelError, PidNamespaceRefused
from sundog.front.oci_runtime.console import Console, host_multiplexer
from sundog.front.oci_runtime.image_root import RootSource
from sundog.front.oci_runtime.link import MADE, MOUNTED, READY, Link
from sundog.front.oci_runtime.mounts import operations, session
from sundog.front.oci_runtime.process import (
    EXIT_NOT_EXECUTABLE,
    EXIT_NOT_FOUND,
    apply_limits,
    become,
    check_program,
    enter_directory,
    with_home,
)
from sundog.runtime.container.enter import enter_namespaces, lock_mounts
from sundog.runtime.container.foreign import emulator_for
from sundog.runtime.container.hidden import Hidden, lies_in, real_path_of
from sundog.runtime.container.hooks import run_hooks
from sundog.runtime.container.memory_share import overlay_share
from sundog.runtime.container.missing_points import add_missing_points
from sundog.runtime.container.operations import Bind
from sundog.runtime.container.paths import OPEN_DIRECTORY
from sundog.runtime.container.plan import Plan, enter
from sundog.runtime.container.variables import Environment
from sundog.runtime.emulation.terminal import typing_is_possible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from sundog.front.oci_runtime.log import Log
    from sundog.front.oci_runtime.specification import Configuration, ProcessSettings
    from sundog.runtime.container.operations import Operation

# The namespaces of the specification that a user can have beside the user and mount namespace.
NAMESPACES = {
    "pid": CLONE_NEWPID,
    "network": CLONE_NEWNET,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "cgroup": CLONE_NEWCGROUP,
}
KERNEL_PARAMETERS = dict.fromkeys(
    ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"), "ipc"
) | dict.fromkeys(("domainname", "hostname"), "uts")
_ALWAYS = ("user", "mount")
_SIGKILL = 9


class Making:
    """The values that the container's first process gets from ``create``.

    own       paths of directories of Sundog's own, which no bind shows
    kept      descriptors that the command gets
    console   the socket to which the master of the terminal goes, or None
    force     how root is emulated
    is_tied   whether the command dies with the process that has started it
    """

    __slots__ = ("bundle", "configuration", "console", "environment", "force", "is_tied", "kept",
                 "log", "own", "settings", "storage")  # fmt: skip

    def __init__(
        self,
        configuration: Configuration,
        settings: ProcessSettings,
        bundle: bytes,
        log: Log,
        *,
        storage: str | None,
        own: Sequence[bytes] = (),
        kept: Sequence[int] = (),
        environment: Sequence[bytes] = (),
        console: socket | None = None,
        force: str = "none",
        is_tied: bool = False,
    ) -> None:
        self.configuration = configuration
        self.settings = settings
        self.bundle = bundle
        self.log = log
        self.storage = storage
        self.own = own
        self.kept = kept
        self.environment = environment
        self.console = console
        self.force = force
        self.is_tied = is_tied


class HostSide:
    """Facts about the host that the maker finds out before it enters the namespaces.

    source    the root file system
    terminal  the master of a terminal of the host, -1 if none is needed or there
    typing    whether the kernel lets programs type into terminals
    """

    __slots__ = ("source", "terminal", "typing")

    def __init__(self, making: Making) -> None:
        self.source = RootSource(
            making.configuration,
            making.bundle,
            making.storage,
            lambda text: making.log.warn_once("configuration", text),
        )
        self.terminal = host_multiplexer() if making.settings.terminal else -1
        self.typing = typing_is_possible()


def be_maker(making: Making, link: Link, gate: socket, *, own_pids: bool) -> NoReturn:
    """Be the maker, and the first process in its child or in itself."""
    status = EXIT_NOT_EXECUTABLE
    try:
        status = make(making, link, gate, own_pids=own_pids)
    except BaseException as error:
        link.fail(error)
    finally:
        os._exit(status)


def make(making: Making, link: Link, gate: socket, *, own_pids: bool) -> int:
    """Enter the namespaces; go on in the first process.  Returns an exit status if it failed."""
    host = HostSide(making)
    joined = join_namespaces(making.configuration, making.log)
    settings = making.settings
    try:
        enter_namespaces(settings.uid, settings.gid, CLONE_NEWPID if own_pids else 0)
    except KernelError as error:
        if own_pids and error.call == "unshare":
            raise PidNamespaceRefused(error.message) from None
        raise
    own = own_namespaces(making, joined)
    if own_pids:
        own |= {"pid"}
        child = fork()
        if child:
            link.send(MADE, child)
            os._exit(0)
    else:
        link.send(MADE, os.getpid())
    return be_first(making, link, gate, host, frozenset(own))


def be_first(
    making: Making,
    link: Link,
    gate: socket,
    host: HostSide,
    own: frozenset[str],
) -> int:
    """Make the container, wait, become the command.  Returns an exit status if that failed."""
    configuration, settings, log = making.configuration, making.settings, making.log
    try:
        os.setsid()
        apply_limits(settings, log)
        apply_sysctl(configuration.sysctl, own, log)
        directory, attached, plan = mount_all(making, host.source, own)
        link.send(MOUNTED)
        state = link.await_go()
        run_hooks("createContainer", configuration.hooks["createContainer"], state, making.bundle)
        proc = os.open(b"/proc", OPEN_DIRECTORY)  # the root may have any or none
        emulator = emulator_for(directory, settings.args[0], os.environb)
        enter(directory, attached, log.debug)
        for fd in (directory, plan.scratch):
            os.close(fd)
        if settings.terminal and making.console is not None:
            console = Console(host.terminal)
            console.set_size(*settings.console_size)
            console.cover_console()
            console.send(making.console)
            console.take()
        enter_directory(settings.cwd)
        check_program(settings)
        environment = [*with_home(settings), *making.environment]
        if making.environment:  # sd_listen_fds(3)
            environment.append(b"LISTEN_PID=%d" % os.getpid())
        if emulator is not None:
            emulator.register_above()
        if settings.uid == 0:  # root keeps capabilities over execve(2): capabilities(7)
            lock_mounts()
        link.send(READY)
    except BaseException as error:
        link.fail(error)
        return EXIT_NOT_EXECUTABLE
    link.close()
    return await_start(making, gate, state, environment, proc=proc, typing=host.typing)


def await_start(
    making: Making,
    gate: socket,
    state: bytes,
    environment: list[bytes],
    *,
    proc: int,
    typing: bool,
) -> int:
    """Wait for ``start``, and become the command.  Returns an exit status if that failed.

    ``proc`` is a /proc of the host.
    """
    accepted, _ = gate._accept()  # type: ignore[attr-defined]
    gate.close()
    starter = Link(socket(AF_UNIX, SOCK_SEQPACKET, 0, accepted))
    try:
        starter.receive()
        set_dumpable(False)  # programs of the image may run from here on
        hooks = making.configuration.hooks["startContainer"]
        run_hooks("startContainer", hooks, state, proc=proc)
        if making.is_tied:
            set_pdeathsig(_SIGKILL)
            if starter.is_over():  # it died before that call
                return EXIT_NOT_EXECUTABLE
        kept = (*making.kept, starter.fileno())
        failure = become(making.settings, environment, kept, force=making.force, typing=typing)
        starter.fail(failure)
    except BaseException as error:
        starter.fail(error)
        return EXIT_NOT_EXECUTABLE
    return EXIT_NOT_FOUND if "not found" in failure.message else EXIT_NOT_EXECUTABLE


def join_namespaces(configuration: Configuration, log: Log) -> set[str]:
    """Enter the namespaces that the configuration names by a path; return their kinds.

    Only somebody who has privileges over such a namespace can, such as root in Podman's user
    namespace; otherwise it is a warning.
    """
    joined = set()
    for kind, path in configuration.namespaces.items():
        if not path:
            continue
        flag = NAMESPACES.get(kind, 0)
        try:
            if not flag or flag == CLONE_NEWPID:
                raise KernelError("setns", kind, 0, "not possible")
            with Closing(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)) as fd:
                setns(fd, flag)
        except (KernelError, OSError):
            log.warn_once(
                f"join {kind}",
                f"linux.namespaces: {escaped(kind)}: cannot join {printable(path)}: only somebody"
                " with privileges over it can",
            )
        joined.add(kind)
    return joined


def own_namespaces(making: Making, joined: set[str]) -> set[str]:
    """Make the other namespaces of the configuration; return the kinds that were made."""
    configuration, log, own = making.configuration, making.log, set()
    for kind in configuration.namespaces:
        if kind in joined or kind in ("pid", *_ALWAYS):
            continue
        try:
            if kind not in NAMESPACES:
                raise KernelError("unshare", kind, 0, "not possible")
            unshare(NAMESPACES[kind])
            if kind == "network":
                bring_up_loopback()
            own.add(kind)
        except KernelError:
            log.warn_once(
                f"namespace {kind}",
                f"linux.namespaces: no {escaped(kind[:40])} namespace here: the host's is used",
            )
    name_host(configuration, own, log)
    return own


def name_host(configuration: Configuration, own: set[str], log: Log) -> None:
    """Give the container its names, in a UTS namespace of its own."""
    names = (("sethostname", configuration.hostname), ("setdomainname", configuration.domainname))
    for call, name in names:
        if name and "uts" in own:
            checked(libc_call(call, name, len(name)), call, name)
        elif name:
            log.warn_once("hostname", "hostname left out: it needs a UTS namespace")


def apply_sysctl(values: dict[str, str], own: frozenset[str], log: Log) -> None:
    """Set the kernel's parameters of the container's own namespaces, and no others.

    The kernel would let the machine's root set the others, too, for the whole machine.
    """
    for name, value in values.items():
        parts = name.replace("/", ".").split(".")
        try:
            if ".." in parts or "" in parts or namespace_of(parts) not in own:
                raise OSError
            path = "/proc/sys/" + "/".join(parts)
            with Closing(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)) as fd:
                os.write(fd, value.encode())
        except (OSError, ValueError):
            log.warn_once(
                "sysctl",
                f"linux.sysctl: {escaped(name[:80])} left out: it belongs to no namespace that the"
                " container's user has alone",
            )


def namespace_of(parts: list[str]) -> str:
    """Return the kind of namespace that a parameter of the kernel belongs to, "" for none."""
    if parts[0] == "net":
        return "network"
    if parts[:2] == ["fs", "mqueue"]:
        return "ipc"
    return KERNEL_PARAMETERS.get(parts[1], "") if parts[0] == "kernel" and len(parts) == 2 else ""


def mount_all(
    making: Making, source: RootSource, own: frozenset[str]
) -> tuple[int, list[Operation], Plan]:
    """Mount the root on top of the host's; return the arguments of ``enter``, and the plan."""
    configuration, settings, log = making.configuration, making.settings, making.log
    ids = settings.uid, settings.gid
    root = source.open()
    inside: list[Operation] = [
        Bind(path, b"/" + place, writable=False, is_own=True) for path, place in root.binds
    ]
    hidden = [path for path in map(real_path_of, making.own) if path]
    steps = inside + operations(
        configuration,
        making.bundle,
        ids,
        own,
        log,
        hidden=hidden,
        has_terminal=settings.terminal,
    )
    steps += session(settings.env, making.bundle)
    writable = not configuration.read_only
    overlaid = None
    if writable and source.is_layered:  # as ch-run -W
        overlaid = overlay_share(Environment(list(settings.env)).get)
    covers = Hidden(hidden, root=bool(root.directory) and not lies_in(root.directory, hidden))
    plan = Plan(root, steps, writable=writable, overlay_size=overlaid, hidden=covers)
    directory, attached = plan.mount(log.debug, lambda text: log.warn_once("copy", text))
    if overlaid is None and (source.is_layered or not writable):
        directory = add_missing_points(root, directory, plan.scratch, attached, log.debug)
    return directory, attached, plan
