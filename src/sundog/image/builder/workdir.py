"""WORKDIR: the directory in which the instructions after it, and containers, start."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass

from sundog.base.kernel.files import Closing
from sundog.base.kernel.mounts import RESOLVE_IN_ROOT, openat2
from sundog.base.record.owners import OwnerRecord
from sundog.errors import KernelError
from sundog.image.builder.files.directories import make_directories
from sundog.image.builder.keys import step_key
from sundog.image.builder.tree_step import PlainStep, encoded
from sundog.image.builder.user import identify
from sundog.image.layer.inherit import StepOwners
from sundog.image.layer.known_records import KnownRecords
from sundog.runtime.steps.step import in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.builder.keys import StepKey
    from sundog.image.store.drivers import Snapshot
    from sundog.image.store.store import Store


@dataclass(frozen=True, slots=True)
class WorkdirStep(PlainStep):
    """WORKDIR: make the directory if it is missing, and those above it.

    New directories belong to ``user``; "" is root.
    """

    text: str
    path: str
    store: Store
    user: str = ""

    def key(self, layers: Sequence[str]) -> StepKey:
        """Return the key: the path, and its owner."""
        return step_key("workdir", layers, self.path, self.user)

    def execute(self, snapshot: Snapshot) -> None:
        """Make the directory; raise BuildError if something else is there."""
        owner = identify(self.user, snapshot.root) if self.user else None
        try:
            made = in_root([snapshot.root], lambda roots: make_workdir(roots[0], self.path))
        except OSError:
            with self.store.faults:
                raise
        if owner is not None:
            record = OwnerRecord("d", owner.uid, owner.gid)
            snapshot.owners = StepOwners(KnownRecords.of(dict.fromkeys(made, record)))


def make_workdir(root: int, path: str) -> list[bytes]:
    """Make the directory ``path`` in the image open as ``root``.

    Returns the directories that were missing, by their paths in the layer.
    """
    names = encoded(path).strip(b"/").split(b"/")
    prefixes = [b"/".join(names[:count]) for count in range(1, len(names) + 1) if names[0]]
    missing: list[bytes] = []
    with suppress(KernelError):  # make_directories reports what is wrong with the path
        missing = [prefix for prefix in prefixes if _real_path(root, prefix) is None]
    os.close(make_directories(root, encoded(path)))
    made = (_real_path(root, prefix) for prefix in missing)
    return [real for real in made if real is not None]


def _real_path(root: int, path: bytes) -> bytes | None:
    """Return a directory's path below ``root``, without symlinks; None if there is none."""
    try:
        fd = openat2(root, path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, RESOLVE_IN_ROOT)
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise
    with Closing(fd):
        place, top = os.readlink(b"/proc/self/fd/%d" % fd), os.readlink(b"/proc/self/fd/%d" % root)
    return place.removeprefix(top).lstrip(b"/")
