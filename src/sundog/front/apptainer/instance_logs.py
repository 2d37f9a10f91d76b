"""The logs of an instance, where Apptainer has them: HOME/.apptainer/instances/logs/HOST/USER.

Containers show the home directory, so a program of an image may have put links there.  No component
below HOME is followed if it is one, and the files are always new.
"""

from __future__ import annotations

import os
from contextlib import suppress

from sundog.base.kernel.files import Closing
from sundog.errors import SundogError
from sundog.runtime.state.place import is_own_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS = ("out", "err")
_WAY = (".apptainer", "instances", "logs")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def make_logs(home: str, host: str, user: str, name: str) -> list[tuple[int, str]]:
    """Make the logs of an instance, in place of older ones; return a descriptor and path of each.

    Raises SundogError if a directory on the way is none, or not the user's alone.
    """
    way = (*_WAY, host, user)
    path = os.path.join(home, *way)
    try:
        with Closing(_directory(home, way)) as directory:
            return [
                (_new_file(directory, f"{name}.{kind}"), os.path.join(path, f"{name}.{kind}"))
                for kind in KINDS
            ]
    except OSError as error:
        raise SundogError(f"can't make logs in {path}: {error.strerror}") from error


def _directory(home: str, way: Sequence[str]) -> int:
    """Open the last directory of ``way``; make those that are missing.  Raises OSError."""
    directory = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in way:
        with Closing(directory):
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=directory)
            directory = os.open(name, _DIRECTORY, dir_fd=directory)
        if not is_own_directory(os.fstat(directory)):
            os.close(directory)
            raise PermissionError(0, f"{name} is not a directory that is yours alone")
    return directory


def _new_file(directory: int, name: str) -> int:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)
    return os.open(name, _NEW, 0o600, dir_fd=directory)
