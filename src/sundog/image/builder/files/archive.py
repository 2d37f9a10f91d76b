"""ADD of tar archives: recognise one, and use its contents as a tree to copy from.

Specification: the Dockerfile reference, “Adding local tar archives”: the contents of a file decide,
not its name; the result is the same as that of tar(1).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from sundog.base.kernel.files import Closing
from sundog.errors import ArchiveError
from sundog.image.builder.files.sources import ManifestRecords, SourceTree
from sundog.image.layer.compression import open_decompressed
from sundog.image.layer.header import BLOCK, parse_header
from sundog.image.layer.unpack import unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from sundog.image.builder.files.content import Source
    from sundog.image.builder.files.copy import ContextFiles, Site
    from sundog.image.builder.keys import Field


def begins_archive(stream: BinaryIO) -> bool:
    """Tell whether the contents of ``stream``, perhaps compressed, begin as a tar archive."""
    try:
        with open_decompressed(stream) as plain:
            block = b""
            while len(block) < BLOCK and (more := plain.read(BLOCK - len(block))):
                block += more
        return is_header(block)
    except ArchiveError:
        return False


def is_header(block: bytes) -> bool:
    """Tell whether ``block`` is the header of a tar archive's first member."""
    if len(block) < BLOCK or not any(block[:BLOCK]):
        return False
    try:
        parse_header(block[:BLOCK])
    except ArchiveError:
        return False
    return True


def is_archive(fd: int) -> bool:
    """Tell whether the file ``fd``, read from its start, is a tar archive in any compression."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return False
    with open(os.dup(fd), "rb", buffering=0) as raw:
        found = begins_archive(raw)
        os.lseek(fd, 0, os.SEEK_SET)
    return found


def put_unpacked(site: Site, fd: int, name: str) -> None:
    """Unpack the archive ``fd`` into the destination; keep its owners.

    Raises ArchiveError if it is damaged or hostile; ``name`` is for the message.
    """
    place = os.path.join(site.scratch, b"unpacked-%d" % len(os.listdir(site.scratch)))
    os.mkdir(place)
    try:
        with open(os.dup(fd), "rb", buffering=0) as raw, open_decompressed(raw) as stream:
            unpacked = unpack(stream, place)
    except ArchiveError as error:
        raise ArchiveError(f"can't unpack {name}: {error.message}", error.hint) from error
    with Closing(os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as tree_fd:
        records = ManifestRecords(unpacked.owners)
        tree = SourceTree.of_image(tree_fd, records)
        site.put(tree, tree.literal(b""), replace=True)


@dataclass(frozen=True, slots=True)
class ContextArchives:
    """Files of a build context; tar archives among them are unpacked."""

    files: ContextFiles

    def fingerprint(self) -> Field:
        """Return a digest of the files."""
        return ("unpacked", self.files.fingerprint())

    def prepare(self) -> None:
        """Return None."""

    def place(self, site: Site) -> None:
        """Copy or unpack each file."""
        tree = self.files.context.tree()
        for source in self.files.find():
            self._place(site, tree, source)

    def _place(self, site: Site, tree: SourceTree, source: Source) -> None:
        with Closing(tree.open(source.path)) as fd:
            if is_archive(fd):
                put_unpacked(site, fd, os.fsdecode(source.path))
            else:
                site.put(tree, [source])
