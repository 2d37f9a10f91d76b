"""VOLUME: the directories where containers may have something mounted.

Specification: the Dockerfile reference, “VOLUME”.  Other builders let the runtime make these
directories when a container starts.  Here an image is read-only then, so the build makes them:
owned by root, with mode 755, and only where nothing exists.  Symlinks are followed within the
image.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from sundog.errors import BuildError
from sundog.image.builder.files.directories import make_directories
from sundog.image.builder.keys import step_key
from sundog.image.builder.tree_step import PlainStep, encoded
from sundog.runtime.steps.step import in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.builder.keys import StepKey
    from sundog.image.store.drivers import Snapshot
    from sundog.image.store.store import Store

# Errors: something else is there, or nothing can be there.
_NO_PLACE = (errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


@dataclass(frozen=True, slots=True)
class VolumeStep(PlainStep):
    """VOLUME: ``paths`` are absolute and without ``..``."""

    text: str
    paths: tuple[str, ...]
    store: Store

    def key(self, layers: Sequence[str]) -> StepKey:
        """Return the key: the paths."""
        return step_key("volume", layers, self.paths)

    def execute(self, snapshot: Snapshot) -> None:
        """Make the directories."""
        try:
            in_root([snapshot.root], lambda roots: make_volumes(roots[0], self.paths))
        except OSError:
            with self.store.faults:
                raise


def make_volumes(root: int, paths: Sequence[str]) -> None:
    """Make directories in the image open as ``root``, except where something else is in the way."""
    for path in paths:
        try:
            os.close(make_directories(root, encoded(path)))
        except BuildError:
            continue
        except OSError as error:
            if error.errno not in _NO_PLACE:
                raise
