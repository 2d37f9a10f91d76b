"""Become the command: execvp(3) as in the C library.

Python's own ``os.execvpe`` does not run a script without ``#!``, and a dead network mount in $PATH
(ESTALE, ETIMEDOUT) ends its search.  Specification: exec(3).

Floor 0.
"""

import errno
import os

from sundog.container.magic_links import refusal_to_execute
from sundog.container.paths import exists
from sundog.container.variables import Environment
from sundog.kernel.advice import referring
from sundog.kernel.libc import kernel_error, printable
from sundog.kernel.process import execve
from sundog.kernel.refusal import explain

DEFAULT_PATH = b"/bin:/usr/bin"  # the C library's default if $PATH is not set: exec(3)
SCRIPT_SHELL = b"/bin/sh"
ELF_MAGIC = b"\x7fELF"

PLAIN_CHARACTERS = b"+,-./0123456789:@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"

# If a directory of $PATH fails with one of these errors, the search goes on.
SKIPPED_ERRNOS = (
    errno.EACCES,
    errno.ENODEV,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ESTALE,
    errno.ETIMEDOUT,
)


def execute(arguments: list[bytes], environment: Environment) -> OSError:
    """Replace this process by the command ``arguments``, which is searched in its own $PATH.

    Returns only on failure, with the reason; EACCES if any candidate was not allowed.
    """
    name = arguments[0]
    if not name:
        return OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    if b"/" in name:
        return execute_file(name, arguments, environment)
    denied = None
    failure = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for directory in search_path(environment).split(b":"):
        # An empty item means the working directory.
        failure = execute_file(
            directory + b"/" + name if directory else name, arguments, environment
        )
        if failure.errno == errno.EACCES:
            denied = failure
        elif failure.errno not in SKIPPED_ERRNOS:
            return failure
    return denied or failure


def search_path(environment: Environment) -> bytes:
    """Return the value of $PATH, or its default."""
    path = environment.get(b"PATH")
    return DEFAULT_PATH if path is None else path


def execute_file(path: bytes, arguments: list[bytes], environment: Environment) -> OSError:
    """Replace this process by the program ``path``; run a file of unknown format as a shell script.

    A program behind a link of /proc/PID is not executed: ELOOP.
    """
    failure = execute_plainly(path, arguments, environment)
    if failure.errno != errno.ENOEXEC or is_elf(path):
        return failure
    return execute_plainly(SCRIPT_SHELL, [SCRIPT_SHELL, path, *arguments[1:]], environment)


def execute_plainly(program: bytes, arguments: list[bytes], environment: Environment) -> OSError:
    """Replace this process by ``program``, which is a whole path."""
    number = refusal_to_execute(program) or -execve(program, arguments, environment.strings())
    return OSError(number, os.strerror(number), program)


def is_elf(path: bytes) -> bool:
    """Tell whether ``path`` is a program, perhaps for another machine."""
    try:
        with open(path, "rb") as file:
            return file.read(len(ELF_MAGIC)) == ELF_MAGIC
    except OSError:
        return False


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
    hint = explain(kernel_error("execve", path or b"", failure.errno or 0))
    if failure.errno == errno.EACCES and hint:  # mounted noexec
        return referring(hint)
    if failure.errno == errno.EACCES and path and not os.access(path, os.X_OK):
        return "it is not executable; you can run a script with its interpreter: sh SCRIPT"
    return hint


def quoted(arguments: list[bytes]) -> str:
    """Return a command line for a message; words with special characters are in double quotes."""
    return printable(b" ".join(map(quoted_word, arguments)))


def quoted_word(word: bytes) -> bytes:
    """Return ``word`` unchanged, or in double quotes that a shell would remove."""
    if word and not word.translate(None, PLAIN_CHARACTERS):
        return word
    for special in (b"\\", b'"', b"!", b"$", b"`"):
        word = word.replace(special, b"\\" + special)
    return b'"' + word + b'"'
