"""A step that writes small files into an image: scripts, labels, texts, links."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from sundog.base.kernel.files import Closing, symlink, write_all
from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import RESOLVE_IN_ROOT, openat2
from sundog.base.record.owners import OwnerRecord
from sundog.errors import BuildError, KernelError
from sundog.image.builder.files.directories import make_directories
from sundog.image.builder.keys import step_key
from sundog.image.builder.tree_step import PlainStep
from sundog.image.layer.inherit import StepOwners
from sundog.image.layer.known_records import KnownRecords
from sundog.image.layer.whole_image import DIRECTORY
from sundog.runtime.steps.step import in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    from sundog.image.builder.keys import Field, StepKey
    from sundog.image.layer.known_records import PackedRecords
    from sundog.image.layer.whole_image import Addition
    from sundog.image.store.drivers import Snapshot
    from sundog.image.store.store import Store

    class Changes(Protocol):
        """The files to write, and to remove, by paths relative to the root."""

        def key(self) -> Field:
            """Return what they depend on, besides the image."""

        def of(self, root: int) -> tuple[Mapping[bytes, Addition], Sequence[bytes]]:
            """Return files to write and paths to remove, for the image open as ``root``."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Files for an image that lacks them; what it has stays."""

    additions: Mapping[bytes, Addition]

    def key(self) -> Field:
        """Return the files."""
        return listed(self.additions)

    def of(self, root: int) -> tuple[Mapping[bytes, Addition], Sequence[bytes]]:
        """Return those that the image lacks."""
        missing = {path: each for path, each in self.additions.items() if not is_there(root, path)}
        return missing, ()


def is_there(root: int, path: bytes) -> bool:
    """Tell whether the image open as ``root`` has something at ``path``."""
    try:
        fd = openat2(root, path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, RESOLVE_IN_ROOT)
    except KernelError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
        return False
    os.close(fd)
    return True


def listed(additions: Mapping[bytes, Addition]) -> Field:
    """Return files as a part of a key."""
    return tuple((path, each.kind, each.mode, each.content) for path, each in additions.items())


@dataclass(frozen=True, slots=True)
class AdditionsStep(PlainStep):
    """Write ``changes``; ``kind`` and ``text`` name the step."""

    kind: str
    text: str
    changes: Changes
    store: Store

    def key(self, layers: Sequence[str]) -> StepKey:
        """Return the key: the files."""
        return step_key(self.kind, layers, self.changes.key())

    def execute(self, snapshot: Snapshot) -> None:
        """Write the files.  All belong to root."""

        def write(roots: list[int]) -> PackedRecords:
            additions, removals = self.changes.of(roots[0])
            return _written(roots[0], additions, removals).pack()

        try:
            packed = in_root([snapshot.root], write)
        except OSError:
            with self.store.faults:
                raise
        snapshot.owners = StepOwners(KnownRecords.unpack(packed))


def _written(
    root: int, additions: Mapping[bytes, Addition], removals: Sequence[bytes]
) -> KnownRecords:
    records = KnownRecords()
    for path in removals:
        directory, _, name = path.rpartition(b"/")
        with Closing(make_directories(root, directory)) as fd:
            if _is_in_the_way(fd, name):
                os.unlink(name, dir_fd=fd)
    for path, addition in additions.items():
        if addition.is_directory:
            with Closing(make_directories(root, path)) as fd:
                if addition != DIRECTORY:
                    os.fchmod(fd, addition.mode)
            continue
        directory, _, name = path.rpartition(b"/")
        with Closing(make_directories(root, directory)) as fd:
            _write(fd, name, path, addition)
        records.add(path, OwnerRecord(addition.kind))
    return records


def _write(directory: int, name: bytes, path: bytes, addition: Addition) -> None:
    if _is_in_the_way(directory, name):
        os.unlink(name, dir_fd=directory)
    try:
        if addition.kind == "l":
            symlink(addition.content, name, dir_fd=directory)
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with Closing(os.open(name, flags, 0o600, dir_fd=directory)) as file:
            write_all(file, addition.content)
            os.fchmod(file, addition.mode)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise
        raise BuildError(
            f"a directory is in the way: /{printable(path)}", "remove it in %post"
        ) from error


def _is_in_the_way(directory: int, name: bytes) -> bool:
    """Tell whether something with this name is there, and no directory."""
    try:
        return not stat.S_ISDIR(os.lstat(name, dir_fd=directory).st_mode)
    except FileNotFoundError:
        return False
