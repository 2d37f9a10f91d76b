"""The entries ``apptainer``, ``singularity`` and ``run-singularity`` in a directory of the user.

An entry is a script of three lines.  ``run-singularity`` is the interpreter that the first line of
a SIF names, so ``./x.sif ARG…`` runs it.
"""

from __future__ import annotations

import os
import stat

from sundog.base.kernel.files import Closing, write_all
from sundog.errors import SundogError

_MARK = b"#!/bin/sh\n# Made by: sundog apptainer links DIR\n"
_ENTRIES = {"apptainer": "", "singularity": "", "run-singularity": " --quiet run"}


def entry_texts(program: str) -> dict[str, bytes]:
    """Return the text of each entry, by its name; ``program`` is the path of ``sundog``."""
    quoted = program.replace("'", "'\\''")
    return {
        name: _MARK + os.fsencode(f"exec '{quoted}' apptainer{words} \"$@\"\n")
        for name, words in _ENTRIES.items()
    }


def write_entries(directory: str, program: str) -> list[str]:
    """Write the entries to ``directory``; return their paths.

    Entries of an older call are replaced.  Raises SundogError, before it writes anything, if
    another file has the name of one.
    """
    paths = {os.path.join(directory, name): text for name, text in entry_texts(program).items()}
    try:
        olds = [path for path in paths if _is_there(path)]
        for path, text in paths.items():
            _write(path, text, replaces=path in olds)
    except OSError as error:
        raise SundogError(
            f"can't write {error.filename or directory}: {error.strerror}",
            "DIR must be a directory of yours",
        ) from error
    return list(paths)


def _is_there(path: str) -> bool:
    """Tell whether ``path`` is an entry; False if nothing is there.  Raises SundogError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(path, flags)
    except FileNotFoundError:
        return False
    except OSError:
        raise _anothers(path) from None
    with Closing(fd):
        is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        if not is_file or os.read(fd, len(_MARK)) != _MARK:
            raise _anothers(path)
    return True


def _anothers(path: str) -> SundogError:
    return SundogError(f"{path} is not an entry of Sundog", "give another DIR, or remove it")


def _write(path: str, text: bytes, *, replaces: bool) -> None:
    """Write the entry as a whole.  A file that has appeared meanwhile stays."""
    draft = f"{path}.{os.getpid()}"
    try:
        with Closing(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)) as fd:
            write_all(fd, text)
            os.fchmod(fd, 0o755)
        if replaces:
            os.replace(draft, path)
        else:
            os.link(draft, path)
    finally:
        if os.path.lexists(draft):
            os.unlink(draft)
