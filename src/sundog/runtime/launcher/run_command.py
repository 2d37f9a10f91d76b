"""The last steps of ``ch-run``: the environment, the directory, the filters, and execve(2)."""

import os

from sundog.base.kernel.files import STDERR_FILENO, STDOUT_FILENO
from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import AT_FDCWD, RESOLVE_NO_MAGICLINKS, openat2
from sundog.base.kernel.process import set_no_new_privs
from sundog.errors import KernelError, SundogError
from sundog.runtime.container.execute import execute, failure_hint, quoted
from sundog.runtime.container.paths import OPEN_DIRECTORY
from sundog.runtime.container.variables import Environment
from sundog.runtime.emulation.filter import describe_program, fake_root_program, install_fake_root
from sundog.runtime.emulation.terminal import forbid_typing
from sundog.runtime.launcher.environment import command_environment
from sundog.runtime.launcher.messages import Messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.launcher.environment import EnvironmentChange
    from sundog.runtime.launcher.options import CommandLine
    from sundog.runtime.launcher.root_emulation import PreparedCompanion
    from sundog.runtime.launcher.statuses import Statuses


def run_command(
    line: "CommandLine",
    what: "tuple[list[bytes], list[EnvironmentChange], bytes]",
    prepared: "PreparedCompanion",
    environment: Environment,
    messages: Messages,
    *,
    statuses: "Statuses",
    home: bytes,
    tmpdir: bytes,
    typing: bool,
    unused: "Callable[[], str]",
) -> int:
    """Run the command in the container, in which this process is.

    ``what`` is the command, the changes of its environment, and its directory.  ``home`` is the
    directory of --home, or empty.  ``unused`` returns a hint for a command that can't be executed.
    Returns an exit status unless this process becomes the command.
    """
    command, changes, workdir = what
    who = prepared.identify()
    if who is not None and who.uid:
        home = home or who.home
    command_environment(
        environment,
        changes,
        messages,
        home=home,
        tmpdir=tmpdir,
        expand=line.expand,
        mpi_env=line.mpi_env,
    )
    change_directory(workdir)
    messages.verbose(f"executing: {quoted(command)}")
    return prepared.attend(
        who,
        lambda install: become(
            command, environment, messages, install, statuses, typing=typing, unused=unused
        ),
    )


def become(
    command: list[bytes],
    environment: Environment,
    messages: Messages,
    install: "Callable[[], None] | None",
    statuses: "Statuses",
    *,
    typing: bool,
    unused: "Callable[[], str]",
) -> int:
    """Become the command, with the filter that ``install`` installs; None: no filter.

    ``typing`` says that the kernel lets programs type into terminals; then a filter forbids it.
    ``unused`` is as in ``run_command``.  Returns one of ``statuses`` if execve(2) fails.  Raises
    KernelError.
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

    def told(failure: OSError) -> "tuple[str, str]":
        text = f"can't execve(2): {printable(command[0])}: {failure.strerror}"
        hints = (failure_hint(failure, command[0], environment), unused())
        return text, "; ".join([hint for hint in hints if hint])

    def report(failure: OSError) -> bytes:
        status = statuses.of_execve(failure.errno or 0)
        return bytes([status]) + messages.error_lines(*told(failure))

    failure = execute(command, environment, report)
    messages.error(*told(failure))
    messages.reprint_warnings()
    return statuses.of_execve(failure.errno or 0)


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
