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
``attended``.

Import nothing after the change of root: the module would come from the image.

Floor 0.
"""

import errno
import os
import sys

from sundog.container.enter import enter_namespaces, lock_mounts
from sundog.container.execute import execute, failure_hint, quoted
from sundog.container.paths import OPEN_DIRECTORY, absolute, exists
from sundog.container.plan import Plan, enter
from sundog.container.variables import Environment
from sundog.emulation.filter import describe_program, fake_root_program, install_fake_root
from sundog.emulation.terminal import forbid_typing, typing_is_possible
from sundog.errors import (
    EXIT_ERROR,
    EXIT_EXEC,
    EXIT_RUN,
    EXIT_RUN_USAGE,
    KernelError,
    SundogError,
    UsageError,
)
from sundog.kernel.files import STDERR_FILENO, STDOUT_FILENO
from sundog.kernel.libc import encode_text, kernel_error, printable
from sundog.kernel.mounts import AT_FDCWD, RESOLVE_NO_MAGICLINKS, openat2
from sundog.kernel.process import set_no_new_privs
from sundog.kernel.refusal import WANTED, explain
from sundog.launcher.accounts import find_accounts, remember_accounts
from sundog.launcher.environment import SetFromImage, command_environment
from sundog.launcher.image import Image, find_image, image_name
from sundog.launcher.inherited import inherited_environment, restore_signals
from sundog.launcher.messages import Messages
from sundog.launcher.one_file import find_one_files
from sundog.launcher.options import USAGE, CommandLine, Finished, help_text
from sundog.launcher.run_plan import CRAY_DIRECTORY, build_plan
from sundog.launcher.storage import Storage, find_storage
from sundog.record.location import default_storage, usual_storage

SET_ID_REFUSAL = "ch-run is installed set-user-ID or set-group-ID"
SET_ID_HINT = "it needs no privileges; remove them: chmod ug-s, on ch-run or its interpreter"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from sundog.container.operations import Operation
    from sundog.launcher.file_server import FileServer
    from sundog.record.identity import Identity

    # Installs the filter by calling the argument, and becomes the command; returns if that fails.
    Become = Callable[[Callable[[], None] | None], int]

    class Companion(Protocol):
        """Decides which processes stay beside the command, if any."""

        def prepare(self, image: Image, plan: Plan, /) -> "PreparedCompanion": ...  # noqa: D102

    class PreparedCompanion(Protocol):
        """A companion that has opened what it needs of the host, before the change of root."""

        def identify(self) -> Identity | None: ...  # noqa: D102
        def attend(self, who: Identity | None, become: Become, /) -> int: ...  # noqa: D102


class Unattended:
    """The companion of most starts: no process stays beside the command.

    The command replaces ``ch-run``, with the filter of --seccomp or with none.
    """

    __slots__ = ("_seccomp",)

    def __init__(self, *, seccomp: bool) -> None:
        self._seccomp = seccomp

    def prepare(self, _image: Image, _plan: Plan) -> "Unattended":
        """Return itself: it needs nothing of the host."""
        return self

    def identify(self) -> None:
        """Return None: no supervisor emulates a user."""

    def attend(self, _who: "Identity | None", become: "Become") -> int:
        """Become the command."""
        return become(install_fake_root if self._seccomp else None)


def start(words: list[str], told: str | None = None) -> None:
    """Be ``ch-run`` with the arguments ``words``.  Never returns.

    ``told`` is the stub's first argument: see ``inherited.py``.
    """
    restore_signals(told or "")
    environment = inherited_environment(told)
    os._exit(run(list(map(encode_text, words)), environment))


def start_from_stub() -> None:
    """Be ``ch-run`` with the arguments that the stub script passes on."""
    told, *words = sys.argv[1:]
    start(words, told)


def run(arguments: list[bytes], environment: Environment) -> int:
    """Run ``ch-run``; return its exit status unless it becomes the command."""
    messages = Messages()
    try:
        return launch(arguments, environment, messages)
    except Finished as finished:
        return finish(finished, messages)
    except SundogError as error:
        hint = error.hint
        if isinstance(error, KernelError):
            hint = hint or explain(error)
        messages.error(error.message, hint)
        status = EXIT_RUN_USAGE if isinstance(error, UsageError) else EXIT_RUN
    except OSError as error:
        if isinstance(error.filename, bytes):
            place = printable(error.filename) + ": "
        else:
            place = WANTED.get(error.errno or 0, "")
        refused = kernel_error("fork", b"", error.errno or 0)  # place names the object
        messages.error(f"can't make the container: {place}{error.strerror}", explain(refused))
        status = EXIT_RUN
    except Exception as error:
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = ""
        if where is not None:
            _, _, file = where.tb_frame.f_code.co_filename.rpartition("/")
            place = f" ({file}, line {where.tb_lineno})"
        messages.error(f"please report this bug: {type(error).__name__}: {error}{place}")
        status = EXIT_RUN
    messages.reprint_warnings()
    return status


def finish(finished: Finished, messages: Messages) -> int:
    """Print the text of --help and its like; return ``ch-run``'s exit status."""
    try:
        os.write(STDERR_FILENO if finished.on_stderr else STDOUT_FILENO, finished.text.encode())
    except OSError as error:
        messages.error(f"can't write: {error.strerror}")
        return EXIT_RUN
    return finished.status


def launch(arguments: list[bytes], environment: Environment, messages: Messages) -> int:
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
    path = line.storage
    if path is None:
        path = default_storage(environment)
    elif not exists(path):
        messages.warning(f"storage directory not found: {printable(path)}")
    companion: Companion | None = load_attendant(line, messages) if line.notify else None
    is_attended = companion is not None
    seccomp = line.seccomp or (line.notify and not is_attended)
    companion = companion or Unattended(seccomp=seccomp)
    uid, gid = chosen_ids(line, is_attended=is_attended)
    messages.verbose(f"verbosity: {messages.verbosity}")
    messages.verbose(f"image: {printable(line.operands[0])}")
    messages.verbose(f"storage: {printable(path)}")
    messages.verbose(f"container uid: {uid}")
    messages.verbose(f"container gid: {gid}")
    messages.verbose(f"private /tmp: {line.private_tmp:d}")
    messages.verbose(f"seccomp: {seccomp:d}")
    messages.verbose(f"unsafe: {line.unsafe:d}")

    # The working directory may change after this line.
    path = absolute(path).rstrip(b"/") or b"/"
    is_usual = path == usual_storage(environment)
    storage = find_storage(path, image_name(line.operands[0]), is_usual=is_usual)
    host_tmp = None if line.private_tmp else absolute(environment.get(b"TMPDIR") or b"/tmp")
    accounts = None
    if line.passwd and not line.notify:  # --notify needs the image's files
        found = find_accounts(uid, gid, messages)
        accounts = (found.passwd, found.group)
        if storage.is_private and found.is_lasting:
            remember_accounts(storage.directory, uid, gid, found)
    typing = typing_is_possible()
    one_file, sources = find_one_files(line, storage)
    files = start_file_server(one_file, sources) if one_file or sources else None
    enter_namespaces(uid, gid)
    storage.reopen()
    given = None
    if files is not None:
        given = files.open_image(one_file, with_records=is_attended) if one_file else None
    if line.mount_point is not None:
        use_mount_point(line.mount_point, given, messages)
    image, plan, directory, operations = mount_image(
        line, storage, accounts, host_tmp, messages, given=given, files=files
    )
    command, changes, workdir = [*image.prefix, *line.operands[1:]], line.changes, b"/"
    if len(line.operands) == 1:
        command, workdir = [*image.command], image.workdir
        if image.own_variables:
            changes = [SetFromImage(b"\n"), *changes]
    changes = [*image.variables, *changes]
    prepared = companion.prepare(image, plan)
    enter(directory, operations, messages.verbose)
    if uid == 0:  # root keeps capabilities over execve(2): capabilities(7)
        lock_mounts()
    who = prepared.identify()
    home = who.home if who is not None and who.uid else b""
    command_environment(environment, changes, messages, home, expand=line.expand)
    change_directory(workdir if line.directory is None else line.directory)
    messages.verbose(f"executing: {quoted(command)}")
    return prepared.attend(
        who, lambda install: become(command, environment, messages, install, typing=typing)
    )


def chosen_ids(line: CommandLine, *, is_attended: bool) -> tuple[int, int]:
    """Return the uid and the gid of the user namespace, outside of root emulation."""
    if is_attended:
        return 0, 0  # the supervisor emulates -u and -g
    uid, gid = (0, 0) if line.notify else (os.geteuid(), os.getegid())
    return uid if line.uid is None else line.uid, gid if line.gid is None else line.gid


def become(
    command: list[bytes],
    environment: Environment,
    messages: Messages,
    install: "Callable[[], None] | None",
    *,
    typing: bool,
) -> int:
    """Become the command, with the filter that ``install`` installs; None: no filter.

    ``typing`` says that the kernel lets programs type into terminals; then a filter forbids it.
    Returns an exit status if execve(2) fails.  Raises KernelError.
    """
    set_no_new_privs()
    if install is install_fake_root and messages.verbosity >= 2:
        for text in describe_program(fake_root_program()):
            messages.debug(text)
    if install is not None:
        install()
    if typing:
        try:
            forbid_typing()
        except KernelError as error:  # a kernel without filters can still run the command
            messages.verbose(f"programs can type into terminals: {error.message}")
    silence(messages.verbosity)
    failure = execute(command, environment)
    messages.error(
        f"can't execve(2): {printable(command[0])}: {failure.strerror}",
        failure_hint(failure, command[0], environment),
    )
    messages.reprint_warnings()
    return EXIT_EXEC


def load_attendant(line: CommandLine, messages: Messages) -> "Companion | None":
    """Return the supervisor for --notify; None if it is not possible.  Few starts load it."""
    from sundog.launcher.attended import attendant_for  # noqa: PLC0415

    return attendant_for(line, messages)


def start_file_server(one_file: bytes, sources: list[bytes]) -> "FileServer":
    """Start the server of the image and of the sources that are one file.  Few starts load it."""
    from sundog.launcher.file_server import FileServer  # noqa: PLC0415

    paths = [one_file, *sources] if one_file else sources
    return FileServer(list(dict.fromkeys(paths)), is_single=not sources)


def use_mount_point(path: bytes, image: Image | None, messages: Messages) -> None:
    """Show the ``image`` that is one file at --mount, too: in the container's namespaces only."""
    if image is None:
        messages.warning("--mount invalid with directory image, ignoring")
        return
    shown = printable(path)
    try:
        os.close(os.open(path, OPEN_DIRECTORY))
    except NotADirectoryError:
        raise SundogError(f"not a directory: {shown}", "--mount takes a directory") from None
    except OSError as error:
        raise SundogError(
            f"can't stat mount point: {shown}: {error.strerror}", "make the directory: mkdir"
        ) from None
    image.root.show(path)


def refuse_set_id() -> None:
    """Raise SundogError if ``ch-run`` is set-user-ID or set-group-ID.

    It does not need these privileges, and would not guard them.
    """
    uids, gids = os.getresuid(), os.getresgid()
    if len(set(uids)) > 1 or len(set(gids)) > 1:
        raise SundogError(SET_ID_REFUSAL, SET_ID_HINT)


def command_missing() -> SundogError:
    """Print the usage, as Charliecloud's ``ch-run`` does, and return the error."""
    os.write(STDOUT_FILENO, f"usage: {USAGE}\n".encode())
    return SundogError(
        "IMAGE and/or COMMAND not specified",
        "ch-run IMAGE -- COMMAND; without COMMAND, IMAGE must have an ENTRYPOINT or a CMD",
    )


def mount_image(
    line: CommandLine,
    storage: Storage,
    accounts: tuple[bytes, bytes] | None,
    host_tmp: bytes | None,
    messages: Messages,
    *,
    given: Image | None = None,
    files: "FileServer | None" = None,
) -> "tuple[Image, Plan, int, list[Operation]]":
    """Find the image and mount it; return it, the plan, and the arguments for ``enter``.

    ``given`` is the image if it is one file.  ``files`` serves binds that are one file.
    """
    for _ in range(2):
        image = None
        try:
            image = given or find_image(line.operands[0], storage, unsafe=line.unsafe)
            if line.write and (image.named or given):
                raise SundogError(
                    f"--write invalid when running {'by name' if image.named else 'from a file'}",
                    "the layers of an image never change; -W lets COMMAND write to a copy",
                )
            if len(line.operands) == 1 and not image.command:
                raise command_missing()
            plan = build_plan(
                image.root,
                writable=line.write,
                overlay_size=line.overlay_size,
                host_tmp=host_tmp,
                accounts=accounts,
                binds=line.binds,
                cray=exists(CRAY_DIRECTORY),
                files=files,
            )
            if messages.verbosity >= 2:
                for text in plan.describe():
                    messages.debug(text)
            return image, plan, *plan.mount(messages.verbose)
        except (KernelError, FileNotFoundError) as error:
            stored = image is None or image.named
            if not stored or error.errno not in (errno.ENOENT, errno.ESTALE):
                raise
            # Another process may have replaced the image during the search.  Then a second search
            # finds the new image.
    raise SundogError(
        f"image in storage is damaged: {printable(line.operands[0])}: files of a layer are missing",
        "import or build it again; a program that cleans /var/tmp may have deleted them",
    )


def change_directory(path: bytes) -> None:
    """Change to the directory in which the command starts.  The root is the container's already.

    The function follows no links in /proc/PID, because they can lead out of the container.
    """
    if path == b"/":
        return
    try:
        directory = openat2(AT_FDCWD, path, OPEN_DIRECTORY, RESOLVE_NO_MAGICLINKS)
        os.fchdir(directory)
        os.close(directory)
    except (KernelError, OSError) as error:
        raise SundogError(
            f"can't cd to {printable(path)}: {os.strerror(error.errno or 0)}",
            "it must be a directory in the container; write a -c for COMMAND after --",
        ) from None


def silence(verbosity: int) -> None:
    """Discard the command's standard output (-q), and its standard error, too (-qqq)."""
    if verbosity < 0:
        null = os.open(b"/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null, STDOUT_FILENO)
        if verbosity <= -3:
            os.dup2(null, STDERR_FILENO)
