"""Become the command: execvp(3) as the C library does it.

Python's own ``os.execvpe`` does not run a script without ``#!``, and a dead network mount in $PATH
(ESTALE, ETIMEDOUT) ends its search.  Specification: exec(3).

Floor 0.
"""

import errno
import os

from sundog.container.magic_links import refusal_to_execute
from sundog.container.paths import exists
from sundog.container.variables import Environment
from sundog.kernel.libc import kernel_error, printable
from sundog.kernel.process import execve
from sundog.kernel.refusal import explain

DEFAULT_PATH = b"/bin:/usr/bin"  # the C library's, when $PATH is not set: exec(3)
SCRIPT_SHELL = b"/bin/sh"
ELF_MAGIC = b"\x7fELF"

PLAIN_CHARACTERS = b"+,-./0123456789:@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"

# A directory of $PATH that fails in one of these ways does not end the search.
SKIPPED_ERRNOS = (
    errno.EACCES,
    errno.ENODEV,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ESTALE,
    errno.ETIMEDOUT,
)


def execute(arguments: list[bytes], environment: Environment) -> OSError:
    """Replace this process by the command ``arguments``, looked up in its own $PATH.

    Returns only when that fails, with the reason; EACCES when any candidate was not allowed.
    """
    name = arguments[0]
    if not name:
        return OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    if b"/" in name:
        return execute_file(name, arguments, environment)
    denied = None
    failure = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for directory in search_path(environment).split(b":"):
        # An empty item is the working directory.
        failure = execute_file(
            directory + b"/" + name if directory else name, arguments, environment
        )
        if failure.errno == errno.EACCES:
            denied = failure
        elif failure.errno not in SKIPPED_ERRNOS:
            return failure
    return denied or failure


def search_path(environment: Environment) -> bytes:
    """Return where programs are looked for."""
    path = environment.get(b"PATH")
    return DEFAULT_PATH if path is None else path


def execute_file(path: bytes, arguments: list[bytes], environment: Environment) -> OSError:
    """Replace this process by the program ``path``; a file of no known format is a shell script.

    A program behind a link of /proc/PID is not executed: ELOOP.
    """
    failure = execute_plainly(path, arguments, environment)
    if failure.errno != errno.ENOEXEC or is_elf(path):
        return failure
    return execute_plainly(SCRIPT_SHELL, [SCRIPT_SHELL, path, *arguments[1:]], environment)


def execute_plainly(program: bytes, arguments: list[bytes], environment: Environment) -> OSError:
    """Replace this process by ``program``, which its whole path names."""
    number = refusal_to_execute(program) or -execve(program, arguments, environment.strings())
    return OSError(number, os.strerror(number), program)


def is_elf(path: bytes) -> bool:
    """Tell whether ``path`` is a program after all, though not for this machine."""
    try:
        with open(path, "rb") as file:
            return file.read(len(ELF_MAGIC)) == ELF_MAGIC
    except OSError:
        return False


def failure_hint(failure: OSError, name: bytes, environment: Environment) -> str:
    """Return what to do about a ``failure`` to execute the command ``name``, or ""."""
    path = failure.filename
    if failure.errno == errno.ENOEXEC:
        return "it is a program for another architecture than this machine's"
    if failure.errno == errno.ELOOP:
        return "it is a symbolic link to itself; or it, or its interpreter, is a link in /proc"
    if failure.errno == errno.ENOENT and path and exists(path):
        return "it is there, but the interpreter or the dynamic loader that it names is not"
    if failure.errno == errno.ENOENT and b"/" not in name:
        directories = printable(search_path(environment))
        return f"the container has it in no directory of $PATH: {directories}"
    hint = explain(kernel_error("execve", path or b"", failure.errno or 0))
    if not hint and failure.errno == errno.EACCES and path and not os.access(path, os.X_OK):
        hint = "it is not executable; a script can be given to its interpreter: sh SCRIPT"
    return hint


def quoted(arguments: list[bytes]) -> str:
    """Return a command line for a message, words with special characters in double quotes."""
    return printable(b" ".join(map(quoted_word, arguments)))


def quoted_word(word: bytes) -> bytes:
    """Return ``word`` as it stands, or in double quotes that a shell would take off again."""
    if word and not word.translate(None, PLAIN_CHARACTERS):
        return word
    for special in (b"\\", b'"', b"!", b"$", b"`"):
        word = word.replace(special, b"\\" + special)
    return b'"' + word + b'"'
