"""Become the command: execvp(3) as in the C library.

Python's own ``os.execvpe`` does not run a script without ``#!``, and a dead network mount in $PATH
(ESTALE, ETIMEDOUT) ends its search.  Specification: exec(3).
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.advice import referring
from sundog.base.kernel.libc import printable
from sundog.base.kernel.refusal import explain
from sundog.runtime.container.paths import exists
from sundog.runtime.process.executable import expected_failure, is_elf
from sundog.runtime.process.last_step import take_last_step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sundog.runtime.container.variables import Environment

    # Makes the report of the last step from the reason why it failed: its first byte is the exit
    # status, the rest is for standard error.
    _Report = Callable[[OSError], bytes]

DEFAULT_PATH = b"/bin:/usr/bin"  # the C library's default if $PATH is not set: exec(3)
SCRIPT_SHELL = b"/bin/sh"
# The reason if the last step fails although nothing was to be seen.
LATE_FAILURE = "it is being written, or has changed, or is damaged"

_PLAIN_CHARACTERS = b"+,-./0123456789:@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"

# If a directory of $PATH fails with one of these errors, the search goes on.
_SKIPPED_ERRNOS = (
    errno.EACCES,
    errno.ENODEV,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ESTALE,
    errno.ETIMEDOUT,
)


def execute(arguments: list[bytes], environment: Environment, report: _Report) -> OSError:
    """Replace this process by the command ``arguments``, which is searched in its own $PATH.

    Returns only on failure, with the reason.  The process may also fail afterwards: ``report``
    makes what it says then.  Raises KernelError and OSError as ``_execute_file`` does.
    """
    try:
        path, number = find_program(arguments[0], environment)
    except OSError as failure:
        return failure
    return _execute_file(path, number, arguments, environment.strings(), report)


def find_program(name: bytes, environment: Environment) -> tuple[bytes, int]:
    """Return the path of the command ``name``, and 0, or ENOEXEC if it may be a script for a shell.

    It is searched in its own $PATH.  Raises OSError if it can't be executed; EACCES if any
    candidate was not allowed.
    """
    denied = None
    failure = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for path in _candidates(name, environment):
        number = expected_failure(path)
        if number in (0, errno.ENOEXEC):
            return path, number
        failure = OSError(number, os.strerror(number), path)
        if number == errno.EACCES:
            denied = failure
        elif number not in _SKIPPED_ERRNOS:
            raise failure
    raise denied or failure


def _candidates(name: bytes, environment: Environment) -> Iterator[bytes]:
    """Yield the paths where the command ``name`` may be; none if it is empty."""
    if b"/" in name:
        yield name
    elif name:
        for directory in search_path(environment).split(b":"):
            # An empty item means the working directory.
            yield directory + b"/" + name if directory else name


def search_path(environment: Environment) -> bytes:
    """Return the value of $PATH, or its default."""
    path = environment.get(b"PATH")
    return DEFAULT_PATH if path is None else path


def _execute_file(
    path: bytes, expected: int, arguments: list[bytes], strings: list[bytes], report: _Report
) -> OSError:
    """Replace this process by the program ``path``, of which execve(2) probably says ``expected``.

    A file of unknown format (ENOEXEC) is run as a shell script.  Returns as ``execute`` does.
    Raises KernelError and OSError if there can be no last step.
    """
    shell, subject = b"", path
    if expected == errno.ENOEXEC and not is_elf(path):
        shell = subject = SCRIPT_SHELL
        expected = expected_failure(SCRIPT_SHELL)
    reason = os.strerror(expected) if expected else LATE_FAILURE
    late = report(OSError(expected, reason, subject))
    number = -take_last_step(path, arguments, strings, shell, late)
    return OSError(number, os.strerror(number), path)


def failure_hint(failure: OSError, name: bytes, environment: Environment) -> str:
    """Return a hint about a ``failure`` to execute the command ``name``, or ""."""
    path = failure.filename
    if failure.errno == errno.ENOEXEC:
        return "it is a program for another architecture than this machine has"
    if failure.errno == errno.E2BIG:
        return (
            "its arguments and variables are too long: one has more than 131071 bytes, or all have "
            "more than a fourth of the limit of the stack (ulimit -s)"
        )
    if failure.errno == errno.ELOOP:
        return "it is a symbolic link to itself, or it or its interpreter is a link in /proc"
    if failure.errno == errno.ENOENT and path and exists(path):
        return "it exists, but its interpreter or its dynamic loader does not"
    if failure.errno == errno.ENOENT and b"/" not in name:
        directories = printable(search_path(environment))
        return f"no directory of the container's $PATH has it: {directories}"
    hint = explain("execve", failure.errno or 0, path or b"")
    if failure.errno == errno.EACCES and hint:  # mounted noexec
        return referring(hint)
    if failure.errno == errno.EACCES and path and not os.access(path, os.X_OK):
        return "it is not executable; you can run a script with its interpreter: sh SCRIPT"
    return hint


def quoted(arguments: list[bytes]) -> str:
    """Return a command line for a message; words with special characters are in double quotes."""
    return printable(b" ".join(map(_quoted_word, arguments)))


def _quoted_word(word: bytes) -> bytes:
    """Return ``word`` unchanged, or in double quotes that a shell would remove."""
    if word and not word.translate(None, _PLAIN_CHARACTERS):
        return word
    for special in (b"\\", b'"', b"!", b"$", b"`"):
        word = word.replace(special, b"\\" + special)
    return b'"' + word + b'"'
