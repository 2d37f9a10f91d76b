"""Findings about an image and the host's MPI, and the files that decided.

Findings hold as long as the host's files that decided are the same, and, in a directory image, the
image's: device, inode, size and times.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.mounts import openat2
from sundog.errors import KernelError
from sundog.runtime.container.root_files import INSIDE_ROOT
from sundog.runtime.host_mpi.fit import Fit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_State = tuple[int, ...]


class Findings:
    """The findings about one image, and the states of the files that decided.

    fit     what the container shows
    host    host's path → the state of the file, for all files that decided
    image   the same for the image
    """

    __slots__ = ("fit", "host", "image")

    def __init__(self, fit: Fit, host: dict[bytes, _State], image: dict[bytes, _State]) -> None:
        self.fit = fit
        self.host = host
        self.image = image

    def is_current(self, root: int) -> bool:
        """Tell whether the files of the host and of the image in ``root`` are the same as then."""
        return all(_state_of(path) == state for path, state in self.host.items()) and all(
            _state_in(root, path) == state for path, state in self.image.items()
        )

    def pack(self) -> object:
        """Return the findings as plain values."""
        fit = self.fit
        parts = (fit.covers, fit.added, fit.cached, fit.plugins, fit.warnings, fit.notes)
        return (parts, self.host, self.image)


def unpack_findings(value: object) -> Findings | None:
    """Return the findings that ``pack`` gave; None for anything else."""
    match value:
        case (tuple(parts), dict(host), dict(image)) if len(parts) == 6:
            fit = Fit()
            fit.covers, fit.added, fit.cached, *texts = parts
            fit.plugins, fit.warnings, fit.notes = texts
            return Findings(fit, host, image)
    return None


def states(paths: Iterable[bytes]) -> dict[bytes, _State]:
    """Return the states of files of the host."""
    return {path: _state_of(path) for path in paths}


def states_in(root: int, paths: Iterable[bytes]) -> dict[bytes, _State]:
    """Return the states of files of the image in the directory ``root``."""
    return {path: _state_in(root, path) for path in paths}


def _state_of(path: bytes) -> _State:
    """Return what changes when a file of the host changes; () if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    identity = (status.st_dev, status.st_ino)
    return (*identity, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _state_in(root: int, path: bytes) -> _State:
    """Return what changes when a file of an image changes; () if there is none.

    Each start may mount the image under another device number.
    """
    try:
        with Closing(openat2(root, path, os.O_PATH | os.O_CLOEXEC, INSIDE_ROOT)) as fd:
            status = os.fstat(fd)
    except (KernelError, OSError):
        return ()
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
