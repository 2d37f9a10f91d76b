"""The files of a layer that is planned in memory: its index, and its table of chunks."""

from __future__ import annotations

from collections import deque

from sundog.base.record.chunk_table import GZIP_SPANS, ChunkTableWriter
from sundog.base.record.layer_index import INDEX_OPAQUE, IndexEntry, IndexWriter
from sundog.image.layer.header import NANOSECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.record.chunk_table import Chunk
    from sundog.base.record.owners import OwnersManifest
    from sundog.image.layer.planned_tree import PlannedNode, PlannedTree


class PlannedIndex:
    """The index and the chunks, of a ``kind``, of a finished ``tree``.

    ``size`` is the number of bytes in its files, hard links once; ``links`` are the paths in
    ``owners`` of files with several names.
    """

    def __init__(self, tree: PlannedTree, owners: OwnersManifest, kind: int) -> None:
        self.index = IndexWriter()
        self.chunks = ChunkTableWriter(kind)
        self.size = 0
        self._kind = kind
        self._places: dict[int, tuple[int, int]] = {}  # node → its entry, its place
        self._linked = tree.linked
        several = [paths for paths in tree.linked.values() if len(paths) > 1]
        self.links = [path for paths in several for path in paths if path in owners]
        self._write(tree.root)

    def _write(self, root: PlannedNode) -> None:
        """Index the whole tree, directory by directory, so that entries of each are adjacent."""
        ahead = deque([(self._add(b"", root), root)])
        while ahead:
            at, directory = ahead.popleft()
            first = self.index.count
            for name, node in sorted((directory.children or {}).items()):
                place = self._add(name, node)
                if node.children is not None:
                    ahead.append((place, node))
            self.index.set_entries(at, first)

    def _place(self, chunks: Sequence[Chunk]) -> int:
        """Return the place of a file's contents: see ``chunk_table`` and ``span_table``."""
        return chunks[0].blob_offset if self._kind == GZIP_SPANS else self.chunks.add(chunks)

    def _add(self, name: bytes, node: PlannedNode) -> int:
        seconds, nanoseconds = divmod(node.mtime_ns, NANOSECONDS)
        first, place = self._places.get(id(node), (-1, 0))
        if node.chunks and first < 0:
            place = self._place(node.chunks)
        if first < 0:
            self.size += node.size
        children = node.children
        nlink = len(self._linked.get(id(node), ())) or 1
        if children is not None:
            nlink = 2 + sum(child.children is not None for child in children.values())
        at = self.index.add(
            IndexEntry(
                name,
                node.mode,
                flags=INDEX_OPAQUE if node.opaque else 0,
                mtime=seconds,
                nanoseconds=nanoseconds,
                size=node.size,
                place=place,
                number=max(first, 0),
                nlink=nlink,
            ),
            tuple(sorted(node.xattrs.items())) if node.xattrs else (),
            target=node.link,
            is_first=first < 0,
        )
        if nlink > 1 and first < 0 and children is None:
            self._places[id(node)] = at, place
        return at
