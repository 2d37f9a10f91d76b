"""``exec``: run another command in a container, by joining the namespaces of its first process.

One setns(2) on a pidfd enters all of them, because those of the host's name and network belong to
the outer of the two user namespaces.  As with ``ch-run --join``, the process is not dumpable until
it has become the command, because programs of the image are around it.
"""

from __future__ import annotations

import os

from sundog.base.kernel.advice import in_words
from sundog.base.kernel.files import Closing
from sundog.base.kernel.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    setns,
)
from sundog.base.kernel.process import fork, fork_below, set_child_subreaper, set_dumpable
from sundog.errors import SundogError, UsageError
from sundog.front.oci_runtime.console import Console, host_multiplexer
from sundog.front.oci_runtime.create import (
    chosen_force,
    console_socket,
    passed_descriptors,
    write_pid_file,
)
from sundog.front.oci_runtime.lifecycle import find_place
from sundog.front.oci_runtime.link import ENDED, MADE, Link
from sundog.front.oci_runtime.members import mount_namespace_id
from sundog.front.oci_runtime.process import (
    EXIT_NOT_EXECUTABLE,
    apply_limits,
    become,
    check_program,
    enter_directory,
    with_home,
)
from sundog.front.oci_runtime.specification import (
    ProcessSettings,
    parse_process,
    read_bundle_again,
    read_file,
)
from sundog.front.oci_runtime.state import RUNNING, identify
from sundog.front.oci_runtime.waiting import Terminal, Watch
from sundog.image.oci.value_class import replaced
from sundog.runtime.container.enter import forbid_imports
from sundog.runtime.emulation.terminal import typing_is_possible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.cpython import socket
    from sundog.base.kernel.living_process import Process
    from sundog.front.oci_runtime.arguments import Arguments
    from sundog.front.oci_runtime.log import Log
    from sundog.front.oci_runtime.state import Container

_KINDS = {
    "user": CLONE_NEWUSER,
    "mnt": CLONE_NEWNS,
    "pid": CLONE_NEWPID,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "net": CLONE_NEWNET,
    "cgroup": CLONE_NEWCGROUP,
    "time": CLONE_NEWTIME,
}


class Joining:
    """The values that the joining process gets."""

    __slots__ = ("console", "force", "kept", "log", "mounts_id", "process", "settings")

    def __init__(
        self,
        process: Process,
        settings: ProcessSettings,
        log: Log,
        *,
        mounts_id: int,
        kept: list[int],
        console: socket | None,
        force: str,
    ) -> None:
        self.process = process
        self.settings = settings
        self.log = log
        self.mounts_id = mounts_id
        self.kept = kept
        self.console = console
        self.force = force


def execute_in(arguments: Arguments, log: Log) -> int:
    """Run a command in a container; return its exit status, 0 with --detach."""
    place = find_place(arguments)
    container = place.read()
    status = place.status(container)
    # Before ``start``, the container's first process is Sundog's own, and could be looked into.
    if status != RUNNING or container.process is None:
        raise SundogError(f"cannot exec in a container that is {status}: {place.id}")
    settings = chosen_settings(arguments, container)
    if (settings.uid, settings.gid) != (container.uid, container.gid):
        log.warn_once(
            "user",
            f"exec: the command runs as {container.uid}:{container.gid}, which the container has"
            " alone",
        )
        settings = replaced(settings, uid=container.uid, gid=container.gid)
    kept, _ = passed_descriptors(arguments, settings)
    is_detached = arguments.has("detach")
    watch = None if is_detached else Watch()
    terminal = None
    if settings.terminal and not is_detached and arguments.value("console-socket") is None:
        terminal = Terminal()
    console = console_socket(settings, arguments) if terminal is None else terminal.console()
    joining = Joining(
        container.process,
        settings,
        log,
        mounts_id=container.mounts_id,
        kept=kept,
        console=console,
        force=chosen_force(arguments, container.annotations),
    )
    if watch is not None:
        set_child_subreaper()
    process = join_container(joining)
    write_pid_file(arguments.value("pid-file"), process.pid)
    return 0 if watch is None else watch.wait(process, terminal)


def chosen_settings(arguments: Arguments, container: Container) -> ProcessSettings:
    """Return the process that the options describe; the bundle says what they leave open.

    Raises SundogError.
    """
    path = arguments.value("process")
    words = tuple(os.fsencode(word) for word in arguments.operands[1:])
    if words[:1] == (b"--",):
        words = words[1:]
    if path is not None:
        return parse_process(read_file(os.fsencode(path), "cannot read the process"))
    if not words:
        raise UsageError("exec: the command is missing", "exec ID COMMAND, or exec --process FILE")
    bundle = os.fsencode(container.bundle)
    own = read_bundle_again(bundle, container.configuration).process
    if own is None:
        raise SundogError("exec: the container's configuration has no process")
    uid, gid = chosen_user(arguments.value("user"), own)
    cwd = arguments.value("cwd")
    return replaced(
        own,
        args=words,
        env=(*own.env, *(os.fsencode(text) for text in arguments.values("env"))),
        cwd=own.cwd if cwd is None else os.fsencode(cwd),
        uid=uid,
        gid=gid,
        terminal=arguments.has("tty"),
        console_size=(0, 0),
    )


def chosen_user(text: str | None, own: ProcessSettings) -> tuple[int, int]:
    """Return the IDs in ``UID[:GID]``.  Raises UsageError."""
    if text is None:
        return own.uid, own.gid
    user, _, group = text.partition(":")
    ids = [word for word in (user, group) if word]
    if not user or not all(word.isascii() and word.isdigit() and len(word) < 11 for word in ids):
        raise UsageError(f"--user: not UID[:GID]: {text}")
    return int(user), int(group) if group else own.gid


def join_container(joining: Joining) -> Process:
    """Start the command in the container; return its process.  Raises SundogError."""
    link, theirs = Link.pair()
    joiner = fork()
    if joiner == 0:
        link.close()
        be_joiner(joining, theirs)
    theirs.close()
    process = None
    try:
        while True:
            kind, value = link.receive()
            if kind == MADE and isinstance(value, int):
                process = identify(value)
                if value != joiner:
                    os.waitpid(joiner, 0)
                link.let_go()
            elif kind == ENDED and process is not None:
                return process
            else:
                raise SundogError("the process in the container has died")
    except Exception as error:
        raise in_words(error) from None
    finally:
        link.close()


def be_joiner(joining: Joining, link: Link) -> None:
    """Be the process that enters the namespaces, or the parent of the one in them."""
    status = EXIT_NOT_EXECUTABLE
    try:
        status = enter_and_become(joining, link)
    except BaseException as error:
        link.fail(error)
    finally:
        os._exit(status)


def enter_and_become(joining: Joining, link: Link) -> int:
    """Enter the namespaces and become the command; return an exit status if that fails."""
    settings = joining.settings
    terminal = host_multiplexer() if settings.terminal else -1
    typing = typing_is_possible()
    apply_limits(settings, joining.log)
    forbid_imports()
    set_dumpable(False)
    with Closing(joining.process.open()) as pidfd:
        kinds = differing_namespaces(joining.process)
        mounts_id = joining.mounts_id and mount_namespace_id(joining.process.pid)
        if not kinds & CLONE_NEWNS or mounts_id != joining.mounts_id:
            raise SundogError(f"process {joining.process.pid} is not that of the container")
        with Closing(os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as proc:
            setns(pidfd, kinds)
            child = fork_below(proc, fork) if kinds & CLONE_NEWPID else 0
    if child:
        link.send(MADE, child)
        os._exit(0)
    if not kinds & CLONE_NEWPID:
        link.send(MADE, os.getpid())
    try:
        link.await_go()  # until then, this process does not end
        os.setsid()
        if settings.terminal and joining.console is not None:
            console = Console(terminal)
            console.set_size(*settings.console_size)
            console.send(joining.console)
            console.take()
        enter_directory(settings.cwd)
        check_program(settings)
        kept = (*joining.kept, link.fileno())
        environment = with_home(settings)
        link.fail(become(settings, environment, kept, force=joining.force, typing=typing))
    except BaseException as error:
        link.fail(error)
    return EXIT_NOT_EXECUTABLE


def differing_namespaces(process: Process) -> int:
    """Return the kinds (CLONE_NEW*) of a process's namespaces that are not this process's own."""
    kinds = 0
    for name, flag in _KINDS.items():
        try:
            theirs = os.stat(f"/proc/{process.pid}/ns/{name}")
            own = os.stat(f"/proc/self/ns/{name}")
        except FileNotFoundError:
            continue  # an older kernel
        if theirs.st_ino != own.st_ino:
            kinds |= flag
    return kinds
