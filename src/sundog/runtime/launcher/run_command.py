"""The last steps of ``ch-run``: the environment, the directory, the filters, and execve(2)."""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.files import STDERR_FILENO, STDOUT_FILENO
from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import AT_FDCWD, RESOLVE_NO_MAGICLINKS, openat2
from sundog.base.kernel.process import set_no_new_privs
from sundog.errors import KernelError, SundogError
from sundog.runtime.container.execute import execute, failure_hint, quoted
from sundog.runtime.container.paths import OPEN_DIRECTORY
from sundog.runtime.emulation.filter import describe_program, fake_root_program, install_fake_root
from sundog.runtime.emulation.terminal import forbid_typing
from sundog.runtime.launcher.environment import command_environment
from sundog.runtime.launcher.image_choice import execution, unused_settings
from sundog.runtime.launcher.statuses import APPTAINER_STATUSES

# ``sundog apptainer`` sets it: where to start if the container lacks the working directory.
_FALLBACK_VARIABLE = b"SUNDOG_FALLBACK"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sundog.base.cpython import socket
    from sundog.runtime.container.variables import Environment
    from sundog.runtime.launcher.companion import PreparedCompanion
    from sundog.runtime.launcher.image import Image
    from sundog.runtime.launcher.messages import Messages
    from sundog.runtime.launcher.part import Part
    from sundog.runtime.launcher.request import Request


def run_command(
    request: Request,
    image: Image | None,
    prepared: PreparedCompanion,
    parts: Iterable[Part],
    keeper: socket | None = None,
) -> int:
    """Run the command of ``request`` in the container, in which this process is.

    ``image`` may be None if the command line has a command.  ``parts`` give variables.
    ``keeper`` is the connection to that of the group which this process has begun.  Returns an exit
    status unless this process becomes the command.
    """
    line, environment, messages = request.line, request.environment, request.messages
    command, changes, workdir = execution(line, image, statuses=request.statuses)
    is_apptainer = request.statuses is APPTAINER_STATUSES
    fallback = environment.get(_FALLBACK_VARIABLE) if is_apptainer else None
    who = prepared.identify()
    own: dict[bytes, bytes] = {}
    if who is not None and who.uid and who.home:
        own[b"HOME"] = who.home
    for part in parts:
        own.update(part.variables())
    command_environment(
        environment,
        changes,
        messages,
        own=own,
        expand=line.environment.expand,
        mpi_env=line.environment.mpi,
    )
    if fallback is None:
        _change_directory(workdir)
    else:
        _change_to_one((workdir, fallback, b"/"), environment, messages)
    prepared.preload(command, environment)
    messages.verbose(f"executing: {quoted(command)}")
    return prepared.attend(who, lambda install: _become(request, command, image, keeper, install))


def _become(
    request: Request,
    command: list[bytes],
    image: Image | None,
    keeper: socket | None,
    install: Callable[[], None] | None,
) -> int:
    """Become the command, with the filter that ``install`` installs; None: no filter.

    Returns an exit status if execve(2) fails.  Raises KernelError.
    """
    environment, messages, statuses = request.environment, request.messages, request.statuses
    set_no_new_privs()
    if install is install_fake_root and messages.verbosity >= 2:
        for text in describe_program(fake_root_program()):
            messages.debug(text)
    if install is not None:
        install()
    if request.typing:
        try:
            forbid_typing()
        except KernelError as error:  # a kernel without filters can still run the command
            messages.verbose(f"programs can type into terminals: {error.message}")
    if request.idle is not None:
        assert keeper is not None  # an idle process begins a group
        return request.idle.stay(keeper)
    _silence(messages.verbosity)

    def told(failure: OSError) -> tuple[str, str]:
        is_missing = failure.errno == errno.ENOENT and b"/" not in command[0]
        text = messages.not_executed(
            printable(command[0]), failure.strerror or "", is_missing=is_missing
        )
        hints = (
            failure_hint(failure, command[0], environment),
            unused_settings(request.line, image),
        )
        return text, "; ".join([hint for hint in hints if hint])

    def report(failure: OSError) -> bytes:
        status = statuses.of_execve(failure.errno or 0)
        return bytes([status]) + messages.error_lines(*told(failure))

    failure = execute(command, environment, report)
    messages.error(*told(failure))
    messages.reprint_warnings()
    return statuses.of_execve(failure.errno or 0)


def _change_directory(path: bytes) -> None:
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
            "it must be a directory in the container",
        ) from None


def _change_to_one(places: tuple[bytes, ...], environment: Environment, messages: Messages) -> None:
    """Change to the first of ``places`` that can be entered, as Apptainer does."""
    reason = ""
    for place in places:
        try:
            _change_directory(place)
        except SundogError as error:
            reason = reason or error.message
            continue
        if reason:
            messages.warning(
                "Error changing the container working directory."
                f" Using '{printable(place)}' instead: {reason}"
            )
            environment.set(b"PWD", place)
        break


def _silence(verbosity: int) -> None:
    """Discard the command's standard output (-q), and its standard error, too (-qqq)."""
    if verbosity < 0:
        null = os.open(b"/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null, STDOUT_FILENO)
        if verbosity <= -3:
            os.dup2(null, STDERR_FILENO)
