"""``ch-run``: run a command in an image, by becoming that command.

``_launch`` is the whole of it, in this order:

1. read the command line, and ask the host what only it knows: devices, accounts, the host's MPI
2. enter the namespaces
3. find the image, and mount it with all that its container shows
4. change the root
5. read what only the image knows: its environment
6. execve(2)

Each thing that an option brings along is a ``Part``, which acts at these moments.

No process stays above the command.  The command has ``ch-run``'s process ID, and ``ch-run``'s
parent sees the command's death by a signal.

With --notify ``ch-run`` stays as the command's parent, beside a supervisor.  Only that option loads
``notify``.  With --join it may enter another container in place of 2 to 4: ``joinable``.

Import nothing after the change of root: the module would come from the image.
"""

from __future__ import annotations

import os
import sys
from posix import environ

from sundog.base.configuration.keys import LOG_PLACE
from sundog.base.kernel.advice import explained, in_words
from sundog.base.kernel.files import STDERR_FILENO, STDOUT_FILENO
from sundog.base.kernel.libc import encode_text
from sundog.errors import SundogError, UsageError
from sundog.runtime.container.enter import enter_namespaces, lock_mounts
from sundog.runtime.container.paths import exists
from sundog.runtime.container.plan import enter
from sundog.runtime.container.variables import Environment
from sundog.runtime.launcher.accounts import accounts_of
from sundog.runtime.launcher.caller import inherited_environment, restore_signals
from sundog.runtime.launcher.configured import configured_binds, configured_tmpfs
from sundog.runtime.launcher.dry_run import dry_run_text
from sundog.runtime.launcher.foreign import ForeignPrograms
from sundog.runtime.launcher.host_places import home_of
from sundog.runtime.launcher.host_sources import requested_binds
from sundog.runtime.launcher.image_choice import choose_image
from sundog.runtime.launcher.mounting import mount_image, overlaid, use_mount_point
from sundog.runtime.launcher.mpi import session_places
from sundog.runtime.launcher.one_file import sources_of
from sundog.runtime.launcher.options import Finished
from sundog.runtime.launcher.own_places import hidden_from
from sundog.runtime.launcher.part import Part
from sundog.runtime.launcher.request import Request, read_command_line
from sundog.runtime.launcher.run_command import run_command
from sundog.runtime.launcher.run_plan import (
    CRAY_DIRECTORY,
    build_plan,
    host_files,
    mounts_of,
)
from sundog.runtime.launcher.sharing import Sharing
from sundog.runtime.launcher.statuses import Statuses, chosen_messages, chosen_statuses

SET_ID_REFUSAL = "ch-run is installed set-user-ID or set-group-ID"
_SET_ID_HINT = "it needs no privileges; remove them: chmod ug-s, on ch-run or its interpreter"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sundog.base.configuration.stores import SharedImage
    from sundog.runtime.container.operations import Operation
    from sundog.runtime.launcher.messages import Messages
    from sundog.runtime.launcher.storage import Storage


def start(words: list[str], told: str | None = None) -> None:
    """Be ``ch-run`` with the arguments ``words``.  Never returns.

    ``told`` is the stub's first argument: see ``caller.py``.
    """
    restore_signals(told or "")
    environment = inherited_environment(told)
    os._exit(run(list(map(encode_text, words)), environment))


def start_from_stub() -> None:
    """Be ``ch-run`` with the arguments that the stub script passes on."""
    told, *words = sys.argv[1:]
    start(words, told)


def start_within(arguments: list[bytes]) -> None:
    """Be ``ch-run`` in the interpreter of another command, as if by execve(2).  Never returns.

    The interpreter's environment (os.environ) is that of ``ch-run``: the caller has set it.
    """
    start_with(arguments, environ)


def start_with(arguments: list[bytes], variables: Mapping[bytes, bytes]) -> None:
    """Be ``ch-run`` as ``start_within``, with these variables as its environment."""
    restore_signals("")
    os._exit(run(arguments, Environment.of(variables)))


def run(arguments: list[bytes], environment: Environment) -> int:
    """Run ``ch-run``; return its exit status unless it becomes the command."""
    messages = chosen_messages(environment)
    statuses = chosen_statuses(environment)
    try:
        return _launch(arguments, environment, messages, statuses)
    except Finished as finished:
        return _finish(finished, messages, statuses)
    except (SundogError, OSError) as error:
        shown = explained(error, "can't make the container: ")
        messages.error(shown.message, shown.hint)
        status = statuses.usage if isinstance(error, UsageError) else statuses.failed
    except Exception as error:
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = ""
        if where is not None:
            _, _, file = where.tb_frame.f_code.co_filename.rpartition("/")
            place = f" ({file}, line {where.tb_lineno})"
        messages.error(in_words(error).message + place)
        status = statuses.failed
    messages.reprint_warnings()
    return status


def _finish(finished: Finished, messages: Messages, statuses: Statuses) -> int:
    """Print the text of --help and its like; return ``ch-run``'s exit status."""
    try:
        os.write(STDERR_FILENO if finished.on_stderr else STDOUT_FILENO, finished.text.encode())
    except OSError as error:
        messages.error(f"can't write: {error.strerror}")
        return statuses.failed
    return finished.status


def _launch(
    arguments: list[bytes], environment: Environment, messages: Messages, statuses: Statuses
) -> int:
    """Do what ``arguments`` ask for.  Returns an exit status unless it becomes the command.

    Raises SundogError, OSError and Finished.
    """
    _refuse_set_id()
    line = read_command_line(arguments, environment, messages)
    request = Request(line, environment, messages, statuses)
    request.tell_container()
    sharing = _sharing_of(request)
    request.tell_options()
    devices = _devices_of(request)
    home = home_of(line.mounts, environment)
    if sharing.namespaces:
        return _join(request, sharing, home)

    storage = request.find_storage()
    shared = request.find_shared(storage)
    sources = sources_of(line, storage, shared, request.fetcher)
    shown = _shown_parts(request, storage, home=home, devices=devices)
    hidden = hidden_from(line, storage, environment, mounts_of(shown), request.holding)
    binds = requested_binds(line.mounts, hidden, sources, messages.warning)
    foreign = Part() if line.dry else ForeignPrograms(line.operands[1:], request.environment)
    last = [foreign, _LockedMounts() if request.uid == 0 else Part(), sharing]
    parts = [*shown, binds, Part(request.companion.mounts()), *last]
    mounts = mounts_of(parts)
    note = _log_of(request, storage, shared)

    enter_namespaces(request.uid, request.gid)
    storage.reopen()
    given = sources.open_image(with_records=request.is_attended)
    use_mount_point(line.image.mount_point, given, messages)
    if line.dry and line.host_mpi.profile is None:  # its plan is known without the mounts
        image = choose_image(line, storage, given)
        root, overlays = overlaid(image.root, line.image.overlays, hidden)
        plan = build_plan(root, mounts, hidden, line.image, overlays)
        raise Finished(0, dry_run_text(request, image, plan))
    sources.show_layers(storage)
    container = mount_image(line, storage, mounts, hidden, given)
    for part in parts:
        part.mounted(container)
    image, plan = container.image, container.plan
    if line.dry:
        raise Finished(0, dry_run_text(request, image, plan))
    prepared = request.companion.prepare(image, plan, sharing.channel)
    note()
    enter(container.directory, container.operations, messages.verbose)
    for part in parts:
        part.entered()
    return run_command(request, image, prepared, parts, sharing.keeper)


def _shown_parts(request: Request, storage: Storage, *, home: Part, devices: Part) -> list[Part]:
    """Return the parts that have mounts, but for --bind, which lies over all of them.

    This is their order: each lies over earlier ones.  The host's MPI adds to the linker's cache of
    the devices, and covers it.  Raises SundogError.
    """
    line, environment = request.line, request.environment
    temporary = request.temporary_directory()
    accounts = accounts_of(request, storage)
    session = session_places(environment, temporary.shown, writable=line.image.write)
    return [
        _host_files_of(request),
        accounts,
        temporary,
        Part(session),
        home,
        Part(configured_tmpfs(line, request.holding)),
        Part(configured_binds(line, request.holding, environment)),
        Part(line.mounts.tmpfs),
        devices,
        _host_mpi_of(request, storage),
    ]


class _LockedMounts(Part):
    """Mounts that the command can't change, though it is root and keeps its capabilities."""

    __slots__ = ()

    def entered(self) -> None:
        """Lock them before execve(2): capabilities(7)."""
        lock_mounts()


def _join(request: Request, sharing: Sharing, home: Part) -> int:
    """Run the command in the container that is there."""
    _log_of(request)()
    return sharing.run(request, home)


def _log_of(
    request: Request, storage: Storage | None = None, shared: SharedImage | None = None
) -> Callable[[], None]:
    """Return what writes a line to the log of the site, if it has one.  Few starts load it."""
    said = () if request.line.dry else request.holding.values(LOG_PLACE)
    if not said:
        return _without_log
    from sundog.runtime.launcher.logged import StartLog

    return StartLog(said[0], request, storage, shared).note


def _without_log() -> None:
    """Write no line."""


def _sharing_of(request: Request) -> Sharing:
    """Return the container that --join or --join-pid names, if any.  Few starts load the rest."""
    line, messages = request.line, request.messages
    if line.dry:
        return Sharing()
    if not line.group.is_joined and line.group.pid is None:
        messages.verbose("join: 0 0 (null) 0")
        return Sharing()
    from sundog.runtime.launcher.join import group_for

    return group_for(line, request.environment, messages, is_attended=request.is_attended)


def _host_files_of(request: Request) -> Part:
    """Return the part of the host's files that every container sees."""
    devices = _load_own_devices(request) if request.line.mounts.own_dev else None
    cray = exists(CRAY_DIRECTORY)
    return Part(host_files(request.need, cray=cray, own=request.own_files, devices=devices))


def _load_own_devices(request: Request) -> Operation:
    """Return the mount of --own-dev.  Few starts load it."""
    from sundog.runtime.container.own_devices import OwnDevices

    terminal = next((os.fsencode(os.ttyname(fd)) for fd in range(3) if os.isatty(fd)), b"")
    return OwnDevices(need=request.need, terminal=terminal)


def _devices_of(request: Request) -> Part:
    """Return the part of --device and --devices.  Few starts load it."""
    if request.line.devices.variables is None:
        return Part()
    from sundog.runtime.launcher.devices import devices_for

    return devices_for(request)


def _host_mpi_of(request: Request, storage: Storage) -> Part:
    """Return the part of --host-mpi.  Few starts load it.  Raises SundogError."""
    name = request.line.host_mpi.profile
    if name is None:
        return Part()
    from sundog.runtime.launcher.host_mpi_part import HostMpiPart

    return HostMpiPart(name, request, storage)


def _refuse_set_id() -> None:
    """Raise SundogError if ``ch-run`` is set-user-ID or set-group-ID.

    It does not need these privileges, and would not guard them.
    """
    uids, gids = os.getresuid(), os.getresgid()
    if len(set(uids)) > 1 or len(set(gids)) > 1:
        raise SundogError(SET_ID_REFUSAL, _SET_ID_HINT)
