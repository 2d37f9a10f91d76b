"""``ch-run``: run a command in an image, by becoming that command.

``ch-run`` works in this order:

1. read the command line, and what only the host knows: a file of variables, the name service
2. enter the namespaces
3. find and mount the image
4. change the root
5. read what only the image knows: its environment
6. execve(2)

No process stays above the command.  The command has ``ch-run``'s process ID, and ``ch-run``'s
parent sees the command's death by a signal.

With --notify ``ch-run`` stays as the command's parent, beside a supervisor.  Only that option loads
``notify``.  With --join it may enter another container in place of 3 and 4; see ``join``.

Import nothing after the change of root: the module would come from the image.
"""

import os
import sys
from posix import environ

from sundog.base.kernel.advice import explained
from sundog.base.kernel.files import STDERR_FILENO, STDOUT_FILENO
from sundog.base.kernel.libc import encode_text, printable
from sundog.base.record.location import default_storage, usual_storage
from sundog.errors import EXIT_ERROR, SundogError, UsageError
from sundog.runtime.container.enter import enter_namespaces, lock_mounts
from sundog.runtime.container.hidden import checked_binds
from sundog.runtime.container.paths import absolute, exists
from sundog.runtime.container.plan import Plan, enter
from sundog.runtime.container.variables import Environment
from sundog.runtime.emulation.terminal import typing_is_possible
from sundog.runtime.launcher.accounts import find_accounts, remember_accounts
from sundog.runtime.launcher.caller import inherited_environment, restore_signals
from sundog.runtime.launcher.dry_run import dry_run_text
from sundog.runtime.launcher.help import help_text
from sundog.runtime.launcher.host_option import (
    content_identity,
    host_mpi_of,
    show_host_mpi,
    use_host_environment,
)
from sundog.runtime.launcher.host_places import TemporaryDirectory, home_places
from sundog.runtime.launcher.image_choice import (
    choose_image,
    choose_storage,
    command_missing,
    execution,
    unused_settings,
)
from sundog.runtime.launcher.messages import Messages
from sundog.runtime.launcher.mounting import mount_image, start_file_server, use_mount_point
from sundog.runtime.launcher.mpi import (
    NATIVE_SECURITY_WARNING,
    is_compared,
    native_security_fails,
    session_places,
)
from sundog.runtime.launcher.one_file import find_one_files, is_one_file, is_stored_name
from sundog.runtime.launcher.options import CommandLine, Finished
from sundog.runtime.launcher.own_places import hidden_from
from sundog.runtime.launcher.root_emulation import chosen_companion, chosen_ids
from sundog.runtime.launcher.run_command import run_command
from sundog.runtime.launcher.run_plan import CRAY_DIRECTORY, build_plan
from sundog.runtime.launcher.statuses import Statuses, chosen_statuses
from sundog.runtime.launcher.storage import Storage

# An image in a layout or an archive: see ``layout``.
LAYOUT_PREFIXES = (b"oci:", b"oci-archive:", b"docker-archive:")

SET_ID_REFUSAL = "ch-run is installed set-user-ID or set-group-ID"
SET_ID_HINT = "it needs no privileges; remove them: chmod ug-s, on ch-run or its interpreter"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.container.operations import Operation
    from sundog.runtime.container.root import Root
    from sundog.runtime.launcher.devices import Devices
    from sundog.runtime.launcher.image import Image
    from sundog.runtime.launcher.join import Joinable
    from sundog.runtime.launcher.root_emulation import Companion


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
    restore_signals("")
    os._exit(run(arguments, Environment.of(environ)))


def run(arguments: list[bytes], environment: Environment) -> int:
    """Run ``ch-run``; return its exit status unless it becomes the command."""
    messages = Messages()
    statuses = chosen_statuses(environment)
    try:
        return launch(arguments, environment, messages, statuses)
    except Finished as finished:
        return finish(finished, messages, statuses)
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
        messages.error(f"please report this bug: {type(error).__name__}: {error}{place}")
        status = statuses.failed
    messages.reprint_warnings()
    return status


def finish(finished: Finished, messages: Messages, statuses: Statuses) -> int:
    """Print the text of --help and its like; return ``ch-run``'s exit status."""
    try:
        os.write(STDERR_FILENO if finished.on_stderr else STDOUT_FILENO, finished.text.encode())
    except OSError as error:
        messages.error(f"can't write: {error.strerror}")
        return statuses.failed
    return finished.status


def launch(
    arguments: list[bytes], environment: Environment, messages: Messages, statuses: Statuses
) -> int:
    """Do what ``arguments`` ask for.  Returns an exit status unless it becomes the command.

    Raises SundogError, OSError and Finished.
    """
    refuse_set_id()
    if not arguments:
        os.write(STDERR_FILENO, help_text().encode())
        return EXIT_ERROR
    permute = b"POSIXLY_CORRECT" not in environment
    line = CommandLine(messages)
    line.read(arguments, permute=permute)
    if not line.operands:
        raise command_missing()
    use_host_environment(line)
    if line.notify and is_compared(environment):
        line.be_rank()
    path = line.storage
    if path is None:
        path = default_storage(environment)
    elif not exists(path):
        messages.warning(f"storage directory not found: {printable(path)}")
    companion, is_attended = chosen_companion(line, messages)
    seccomp = line.seccomp or (line.notify and not is_attended)
    uid, gid = chosen_ids(line, is_attended=is_attended)
    messages.verbose(f"verbosity: {messages.verbosity}")
    messages.verbose(f"image: {printable(line.operands[0])}")
    messages.verbose(f"storage: {printable(path)}")
    messages.verbose(f"container uid: {uid}")
    messages.verbose(f"container gid: {gid}")
    group = None
    if not line.dry:
        group = load_group(line, environment, messages, is_attended=is_attended)
    messages.verbose(f"private /tmp: {line.private_tmp:d}")
    messages.verbose(f"seccomp: {seccomp:d}")
    messages.verbose(f"unsafe: {line.unsafe:d}")
    seen = (line.uid or 0) if line.notify else uid
    if not line.is_rank and native_security_fails(environment, seen):
        messages.warning(NATIVE_SECURITY_WARNING % seen)

    devices = load_devices(line, environment, messages) if line.device_variables else None

    # The working directory may change after this line.
    path = absolute(path).rstrip(b"/") or b"/"
    homes = home_places(environment) if line.home else []
    word = line.operands[0]

    def find() -> Storage:
        if word.startswith(LAYOUT_PREFIXES):
            load_use_layout()(line, path, environment, messages)
        return choose_storage(line, path, usual_storage(environment))

    if group is not None and group.namespaces:
        home = homes[0].source if homes else b""
        return run_in_group(
            group,
            line,
            find,
            environment,
            messages,
            statuses=statuses,
            companion=companion,
            home=home,
        )
    storage = find()
    temporary = TemporaryDirectory(line, environment)
    accounts = None
    if line.passwd and not line.notify:  # --notify needs the image's files
        found = find_accounts(uid, gid, messages)
        accounts = (found.passwd, found.group)
        if storage.is_private and found.is_lasting and not line.dry:
            remember_accounts(storage.directory, uid, gid, found)
    one_file, sources = find_one_files(line, storage)
    files = start_file_server(one_file, sources) if one_file or sources else None
    host = host_mpi_of(line, storage, environment, messages)
    places = session_places(environment, temporary.shown, writable=line.write)
    shown: list[Operation] = [*temporary.places, *places, *homes]
    # The host's MPI adds to the linker's cache of the devices, and covers it.
    drivers = [*(devices.mounts if devices else []), *(host.places if host else [])]
    hidden = hidden_from(line, storage, environment, temporary.shown, more=bool(shown or drivers))
    binds, own = checked_binds(line.binds, hidden.places, messages.warning)

    def planned(root: "Root") -> Plan:
        return build_plan(
            root,
            writable=line.write,
            overlay_size=line.overlay_size,
            is_kept=bool(line.container),
            host_tmp=temporary.shown,
            accounts=accounts,
            places=shown,
            binds=binds,
            own=own,
            hidden=hidden,
            cray=exists(CRAY_DIRECTORY),
            files=files,
            drivers=drivers,
            tmpfs=line.tmpfs,
        )

    typing = typing_is_possible()
    enter_namespaces(uid, gid)
    storage.reopen()
    given = None
    if one_file and files is not None:
        given = files.open_image(one_file, with_records=is_attended)
    if line.mount_point is not None:
        use_mount_point(line.mount_point, given, messages)
    if line.dry and host is None:
        image = choose_image(line, storage, given)
        plan = planned(image.root)
        raise Finished(0, dry_run_text(line, plan, execution(line, image), word))
    image, plan, directory, operations = mount_image(line, storage, planned, messages, given)
    if host is not None:
        identity = content_identity(line, image, storage)
        operations += show_host_mpi(host, plan, directory, identity, messages)
    what = execution(line, image)
    if line.dry:
        raise Finished(0, dry_run_text(line, plan, what, word))
    prepared = companion.prepare(image, plan, None if group is None else group.channel)
    if devices is None:
        enter(directory, operations, messages.verbose)
    else:
        devices.enter(directory, operations, plan.scratch, messages.verbose)
    if uid == 0:  # root keeps capabilities over execve(2): capabilities(7)
        lock_mounts()
    if group is not None:
        group.publish()
    return run_command(
        line,
        what,
        prepared,
        environment,
        messages,
        statuses=statuses,
        home=homes[0].source if homes else b"",
        tmpdir=temporary.variable,
        typing=typing,
        unused=lambda: unused_settings(line, image),
    )


def run_in_group(
    group: "Joinable",
    line: CommandLine,
    find: "Callable[[], Storage]",
    environment: Environment,
    messages: Messages,
    *,
    statuses: Statuses,
    companion: "Companion",
    home: bytes,
) -> int:
    """Run the command of ``line`` in the container of ``group``, which other processes share.

    The function looks at the image, and at the storage that ``find`` returns, only if the image
    must say what runs, or who: ``sundog exec`` says both.  ``home`` is the directory of --home, or
    empty.  Returns an exit status unless this process becomes the command.  Raises SundogError and
    OSError.
    """
    image, shown_image = None, None
    if is_one_file(line.operands[0]) and not is_stored_name(line.operands[0], find()):
        shown_image = load_shown_image()
    elif group.may_begin and (len(line.operands) == 1 or group.channel is not None):
        image = choose_image(line, find())
    typing = typing_is_possible()
    group.enter()
    if shown_image is not None:
        image = shown_image(line.operands[0])
    return run_command(
        line,
        execution(line, image),
        companion.prepare(image, None, group.channel),
        environment,
        messages,
        statuses=statuses,
        home=home,
        tmpdir=TemporaryDirectory(line, environment).variable,
        typing=typing,
        unused=lambda: unused_settings(line, image),
    )


def load_shown_image() -> "Callable[[bytes], Image]":
    """Return the function that reads an image that is one file, and is the root directory."""
    from sundog.runtime.launcher.file_server import shown_image  # noqa: PLC0415

    return shown_image


def load_use_layout() -> "Callable[[CommandLine, bytes, Environment, Messages], None]":
    """Return the function that finds the image of a layout in storage.  Few starts load it."""
    from sundog.runtime.launcher.layout import use_layout  # noqa: PLC0415

    return use_layout


def load_devices(line: CommandLine, environment: Environment, messages: Messages) -> "Devices":
    """Return what --device and --devices ask for.  Few starts load it."""
    from sundog.runtime.launcher.devices import devices_for  # noqa: PLC0415

    return devices_for(line, environment, messages)


def load_group(
    line: CommandLine, environment: Environment, messages: Messages, *, is_attended: bool
) -> "Joinable | None":
    """Return the group of --join or --join-pid; None without these options.  Few starts load it."""
    if not line.join and line.join_pid is None:
        messages.verbose("join: 0 0 (null) 0")
        return None
    from sundog.runtime.launcher.join import group_for  # noqa: PLC0415

    return group_for(line, environment, messages, is_attended=is_attended)


def refuse_set_id() -> None:
    """Raise SundogError if ``ch-run`` is set-user-ID or set-group-ID.

    It does not need these privileges, and would not guard them.
    """
    uids, gids = os.getresuid(), os.getresgid()
    if len(set(uids)) > 1 or len(set(gids)) > 1:
        raise SundogError(SET_ID_REFUSAL, SET_ID_HINT)
