"""``create``: make a container whose command waits for ``start``."""

from __future__ import annotations

import json
import os
import time

from sundog.base.configuration.storage import default_storage, own_places
from sundog.base.cpython import AF_UNIX, SOCK_SEQPACKET, socket
from sundog.base.kernel.advice import in_words
from sundog.base.kernel.descriptors import INT_SIZE
from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import encode_text, printable
from sundog.base.kernel.locks import unlock
from sundog.base.kernel.modes import S_IFMT, S_IFSOCK
from sundog.base.kernel.process import fork
from sundog.errors import PidNamespaceRefused, SundogError, UsageError
from sundog.front.oci_runtime.console import connect_console
from sundog.front.oci_runtime.container_process import Making, be_maker
from sundog.front.oci_runtime.link import ENDED, MADE, MOUNTED, READY, Link
from sundog.front.oci_runtime.members import mount_namespace_id
from sundog.front.oci_runtime.process import FORCES
from sundog.front.oci_runtime.specification import (
    CONFIG,
    Configuration,
    ProcessSettings,
    read_bundle,
)
from sundog.front.oci_runtime.state import (
    CREATING,
    GATE,
    STOPPED,
    Container,
    Place,
    find_root,
    identify,
)
from sundog.image.oci.bundle import FORCE_ANNOTATION, STORAGE_ANNOTATION
from sundog.runtime.container.hooks import run_hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.kernel.living_process import Process
    from sundog.front.oci_runtime.arguments import Arguments
    from sundog.front.oci_runtime.log import Log

_FDS_LIMIT = 1 << 16
_LATE_STAGES = ("poststart", "poststop")


class Created:
    """A container that waits for ``start``, and what the caller may need of it."""

    __slots__ = ("container", "place", "process")

    def __init__(self, place: Place, container: Container, process: Process) -> None:
        self.place = place
        self.container = container
        self.process = process


def create(
    arguments: Arguments, log: Log, *, console: socket | None = None, is_tied: bool = False
) -> Created:
    """Create the container that ``arguments`` describe.

    ``console`` gets the master of its terminal; None: the option --console-socket decides.
    ``is_tied`` is for ``Making``.  If it fails, nothing is left.  Raises SundogError and OSError.
    """
    bundle = os.path.realpath(os.fsencode(arguments.value("bundle") or "."))
    configuration = read_bundle(bundle)
    settings = configuration.process
    if settings is None:
        raise SundogError(f"{CONFIG}: process: expected an object, found null")
    root = find_root(arguments.value("root"), make=True)
    place = Place(root, arguments.operands[0])
    if console is None:
        console = console_socket(settings, arguments)
    warn_of_left_out(configuration, settings, log)
    kept, environment = passed_descriptors(arguments, settings)
    making = Making(
        configuration,
        settings,
        bundle,
        log,
        storage=arguments.value("storage"),
        own=[*storage_places(arguments.value("storage"), configuration), os.fsencode(root)],
        kept=kept,
        environment=environment,
        console=console,
        force=chosen_force(arguments, configuration.annotations),
        is_tied=is_tied,
    )
    lock = place.reserve()
    try:
        created = make_container(making, place, lock)
        write_pid_file(arguments.value("pid-file"), created.process.pid)
    except BaseException:
        place.remove()
        raise
    finally:
        unlock(lock)
    return created


def storage_places(given: str | None, configuration: Configuration) -> list[bytes]:
    """Return the paths of directories of Sundog's own that no container sees.

    ``given`` is the storage directory of the command line.
    """
    named = given or configuration.annotations.get(STORAGE_ANNOTATION)
    storage = default_storage(os.environb) if named is None else encode_text(named)
    return own_places(os.path.abspath(storage), os.environb)


def make_container(making: Making, place: Place, lock: int) -> Created:
    """Make the container at its ``place``; kill its process if that fails.

    No process of the container keeps the ``lock``: if this one is killed, others can go on.
    """
    configuration = making.configuration
    container = Container(
        place.id,
        os.fsdecode(making.bundle),
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        annotations=configuration.annotations,
        configuration=configuration.digest,
        has_late_hooks=any(configuration.hooks[stage] for stage in _LATE_STAGES),
        user=(making.settings.uid, making.settings.gid),
    )
    place.write(container)
    gate = make_gate(place)
    own_pids = configuration.namespaces.get("pid") == b""
    if configuration.namespaces.get("pid"):
        making.log.warn_once("join pid", "linux.namespaces: pid: cannot join another one")
    try:
        process = make_process(making, container, gate, place, lock, own_pids=own_pids)
    except PidNamespaceRefused as error:
        process = make_process(making, container, gate, place, lock, own_pids=False)
        making.log.warn_once(
            "namespace pid", f"linux.namespaces: no pid namespace here: {error.message}"
        )
    gate.close()
    mounts_id = mount_namespace_id(process.pid)
    container = container.with_process(process, is_ready=True, mounts_id=mounts_id)
    place.write(container)
    return Created(place, container, process)


def make_process(
    making: Making, container: Container, gate: socket, place: Place, lock: int, *, own_pids: bool
) -> Process:
    """Start the first process, and wait until it is ready."""
    link, theirs = Link.pair()
    maker = fork()
    if maker == 0:
        os.close(lock)
        link.close()
        be_maker(making, theirs, gate, own_pids=own_pids)
    theirs.close()
    process: Process | None = None
    mounted = hooked = False
    try:
        while True:
            kind, value = receive(link)
            if kind == MADE and isinstance(value, int):
                process = identify(value)
                if value != maker:
                    os.waitpid(maker, 0)
            elif kind == MOUNTED:
                mounted = True
            elif kind == READY and process is not None:
                return process
            elif kind == ENDED:
                raise SundogError("the container's process has died")
            if mounted and process is not None:
                mounted, hooked = False, True
                known = container.with_process(process)
                place.write(known)
                state = json.dumps(known.to_json(CREATING)).encode()
                for stage in ("prestart", "createRuntime"):
                    run_hooks(stage, making.configuration.hooks[stage], state, making.bundle)
                link.let_go(state)
    except BaseException:
        give_up(maker, process)
        if hooked:
            run_poststop(making, container)
        raise
    finally:
        link.close()


def run_poststop(making: Making, container: Container) -> None:
    """Run the last hooks of a container whose first ones have begun: runtime.md, "Lifecycle"."""
    state = json.dumps(container.to_json(STOPPED)).encode()
    try:
        run_hooks("poststop", making.configuration.hooks["poststop"], state, making.bundle)
    except SundogError as error:
        making.log.warn_once("poststop", error.message)


def receive(link: Link) -> tuple[str, int | bytes]:
    """Return the next message.  Raises SundogError."""
    try:
        return link.receive()
    except Exception as error:
        raise in_words(error) from None


def give_up(maker: int, process: Process | None) -> None:
    """Kill the processes of a container that could not be made."""
    pids = {maker} if process is None else {maker, process.pid}
    for pid in pids:
        if pid != maker and process is not None and not process.lives():
            continue
        try:
            if pid != maker or os.waitpid(maker, os.WNOHANG) == (0, 0):
                os.kill(pid, 9)
                os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue


def make_gate(place: Place) -> socket:
    """Return the socket at which the first process will wait."""
    gate = socket(AF_UNIX, SOCK_SEQPACKET)
    with Closing(place.open_directory()) as directory:
        gate.bind(b"/proc/self/fd/%d/%b" % (directory, GATE.encode()))
    gate.listen(1)
    return gate


def console_socket(settings: ProcessSettings, arguments: Arguments) -> socket | None:
    """Return the connection for the terminal's master, None without a terminal.

    Raises SundogError if one of terminal and option is missing.
    """
    path = arguments.value("console-socket")
    if settings.terminal and path is None:
        raise SundogError(
            "cannot allocate a terminal without a console socket",
            "give --console-socket, or let process.terminal be false",
        )
    if not settings.terminal and path is not None:
        raise SundogError("cannot use the console socket: process.terminal is not true")
    return None if path is None else connect_console(path)


def warn_of_left_out(configuration: Configuration, settings: ProcessSettings, log: Log) -> None:
    """Warn of what nobody without privileges can provide, once for each kind."""
    for name in configuration.left_out:
        log.warn_once(name, f"{name} left out: this runtime does not apply it")
    for name in (*settings.labels, *settings.scheduling):
        log.warn_once(name, f"process.{name} left out: this runtime does not apply it")
    if any(gid != settings.gid for gid in settings.additional_gids):
        log.warn_once(
            "additionalGids",
            "process.user.additionalGids left out: a Type III container has one group",
        )


def chosen_force(arguments: Arguments, annotations: dict[str, str]) -> str:
    """Return how root is emulated.  Raises UsageError."""
    force = arguments.value("force") or annotations.get(FORCE_ANNOTATION) or "none"
    if force not in FORCES:
        raise UsageError(f"unknown emulation of root: {force}", f"--force={'|'.join(FORCES)}")
    return force


def passed_descriptors(
    arguments: Arguments, settings: ProcessSettings
) -> tuple[list[int], list[bytes]]:
    """Return the caller's descriptors that the command gets, and variables that tell of them.

    They are those of --preserve-fds, those of $LISTEN_FDS (sd_listen_fds(3)), and the socket of
    Slurm's PMI-1 and PMI-2, which $PMI_FD names.  Raises UsageError for one that is not open.
    """
    listening = os.environ.get("LISTEN_FDS", "")
    count = int(listening) if listening.isascii() and listening.isdigit() else 0
    count = count if count <= _FDS_LIMIT else 0
    more = arguments.number("preserve-fds", _FDS_LIMIT)
    kept = list(range(3, 3 + count + more))
    for fd in kept[count:]:
        if not is_passed(fd):
            raise UsageError(f"--preserve-fds: descriptor {fd} is not open")
    variables = [b"LISTEN_FDS=%d" % count] if count else []
    for string in settings.env:
        name, _, value = string.partition(b"=")
        # An image may have such a variable, too: it must not choose a file of the caller.
        if name == b"PMI_FD" and value.isdigit() and len(value) < INT_SIZE * 2:
            kept += [fd for fd in [int(value)] if is_socket(fd)]
    return list(filter(is_passed, kept)), variables


def is_passed(fd: int) -> bool:
    """Tell whether the caller has left the descriptor open; Sundog's own ones close on exec."""
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False


def is_socket(fd: int) -> bool:
    """Tell whether ``fd`` is a socket."""
    try:
        return os.fstat(fd).st_mode & S_IFMT == S_IFSOCK
    except OSError:
        return False


def write_pid_file(path: str | None, pid: int) -> None:
    """Write the number of the container's process; the file appears as a whole."""
    if path is None:
        return
    name = os.fsencode(path)
    directory, last = os.path.split(name)
    draft = os.path.join(directory, b".%b.%d" % (last, os.getpid()))
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with Closing(os.open(draft, flags, 0o644)) as fd:
            os.write(fd, b"%d" % pid)
        os.rename(draft, name)
    except OSError as error:
        raise SundogError(
            f"cannot write the PID file {printable(name)}: {error.strerror}"
        ) from None
