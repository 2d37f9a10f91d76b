"""The tree that the members of an archive would become, planned in memory, without a file made.

``unpack`` makes the same tree of the same members; the rules are there.  A member that no table
can be trusted to place is refused, so that the layer is unpacked instead: its name leads through a
symbolic link, or it is a hard link to what only a layer below has.
"""

from __future__ import annotations

import stat
from types import MappingProxyType

from sundog.base.kernel.modes import S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG
from sundog.base.record.layer_index import XATTRS_LIMIT
from sundog.base.record.owners import OwnerRecord
from sundog.errors import ArchiveError
from sundog.image.layer.marks import WHITEOUT_RECORD
from sundog.image.layer.member_records import MemberRecords
from sundog.image.layer.names import (
    AUFS,
    NAME_LIMIT,
    OPAQUE,
    PATH_LIMIT,
    WHITEOUT,
    check_length,
    display,
    joined,
    normalised,
)
from sundog.image.layer.xattrs import is_of_inode, recordable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sundog.base.record.chunk_table import Chunk
    from sundog.base.record.owners import OwnersManifest
    from sundog.image.layer.below_index import BelowByIndex
    from sundog.image.layer.header import Member
    from sundog.image.layer.limits import Meter
    from sundog.image.layer.xattrs import Pairs

_TYPES = {
    "f": S_IFREG, "c": S_IFREG, "b": S_IFREG, "d": S_IFDIR, "l": S_IFLNK, "p": S_IFIFO,
}  # fmt: skip
_LINK_MODE = 0o777  # of each symbolic link
_NO_XATTRS: Mapping[bytes, bytes] = MappingProxyType({})
_NOTHING: set[bytes] = set()  # hidden by what is no directory


class PlannedNode:
    """An inode to be.  ``mode`` has its type, as in stat(2); devices are empty files.

    ``xattrs`` are those that the inode carries, ``record`` is what it lacks.  A directory has
    ``children``; ``hidden`` are the names in it that are deleted below, and nothing of the layers
    below shows in it if it is ``cut_off``.  Perhaps a file ``is_linked``: has several names.
    """

    __slots__ = (
        *("children", "chunks", "cut_off", "hidden", "is_linked", "link", "mode", "mtime_ns"),
        *("opaque", "record", "size", "xattrs"),
    )

    def __init__(self, mode: int, mtime_ns: int, record: OwnerRecord | None = None) -> None:
        self.mode = mode
        self.mtime_ns = mtime_ns
        self.record = record
        self.size = 0
        self.link = b""
        self.chunks: Sequence[Chunk] = ()
        self.xattrs: Mapping[bytes, bytes] = _NO_XATTRS
        self.children: dict[bytes, PlannedNode] | None = None
        self.hidden = _NOTHING
        if mode & S_IFMT == S_IFDIR:
            self.children, self.hidden = {}, set()
        self.opaque = False
        self.cut_off = False
        self.is_linked = False


class PlannedTree:
    """The tree over the layers ``below``; ``meter`` counts the work.

    Add all members, then call ``finish``.  Methods raise ArchiveError.  ``linked`` are then the
    paths of each file with several names, by the identity of its node.
    """

    def __init__(self, below: BelowByIndex, meter: Meter) -> None:
        self.root = PlannedNode(S_IFDIR | 0o755, 0)
        self.needs_below = False
        self._below = below
        self._meter = meter
        self.linked: dict[int, list[bytes]] = {}
        self._records = MemberRecords()
        self._has_members = self._has_root = False
        self._last = (b"", self.root)  # most members stand beside their predecessors

    def add(self, member: Member, chunks: Sequence[Chunk] = ()) -> None:
        """Add one member, whose contents are in ``chunks``."""
        path = normalised(member.name)
        check_length(path)
        if not path and member.kind != "d":
            raise ArchiveError("the root is not a directory")
        if not self._has_members:
            self._has_members = True
            self.root.mtime_ns = member.mtime_ns
        if WHITEOUT in path and self._add_whiteout(member, path):
            return
        text = len(path)
        if member.xattrs:
            text += sum(map(len, member.xattrs)) + sum(map(len, member.xattrs.values()))
        self._meter.entry(text)
        directory, _, name = path.rpartition(b"/")
        parent = self._enter(directory, member.mtime_ns)
        if member.kind == "h":
            self._add_hard_link(member, path, parent, name)
        elif member.kind == "d":
            self._add_directory(member, path, parent, name)
        else:
            self._add_file(member, parent, name, chunks)

    def finish(self) -> OwnersManifest:
        """Place the marks that hide what is below; return the manifest."""
        self._imply_root()
        owners: OwnersManifest = {}
        for path, node in list(self.walk()):
            if node.opaque:
                record = node.record or OwnerRecord("d")
                node.record = OwnerRecord(
                    "d", record.uid, record.gid, xattrs=record.xattrs, opaque=True
                )
                self.needs_below = True
                node.opaque = self._needs_mark(path)
            if node.record is not None:
                owners[path] = node.record
            if node.is_linked:
                self.linked.setdefault(id(node), []).append(path)
            for name in node.hidden:
                self.needs_below = True
                hidden = joined(path, name)
                owners[hidden] = WHITEOUT_RECORD
                if not node.cut_off and self._below.lookup(hidden) and node.children is not None:
                    node.children[name] = PlannedNode(S_IFCHR, 0)
        return owners

    def _needs_mark(self, path: bytes) -> bool:
        """Tell whether an opaque directory hides anything; the stack of layers ends at a root."""
        parent = self._find(path.rpartition(b"/")[0])
        return bool(path and parent and not parent.cut_off and self._below.has_directory(path))

    def walk(self) -> Iterator[tuple[bytes, PlannedNode]]:
        """Yield each path and its node; a directory comes before what is in it."""
        ahead = [(b"", self.root)]
        while ahead:
            path, node = ahead.pop()
            yield path, node
            if node.children:
                ahead += [(joined(path, name), child) for name, child in node.children.items()]

    def _enter(self, path: bytes, mtime_ns: int) -> PlannedNode:
        """Return the directory ``path``; make it, and those above it, if they are missing."""
        if path == self._last[0]:
            return self._last[1]
        node, here = self.root, b""
        names = path.split(b"/") if path else []
        self._meter.looked_up(len(names))
        for name in names:
            assert node.children is not None
            child = node.children.get(name)
            here = joined(here, name)
            if child is None:
                child = self._imply(node, name, here, mtime_ns)
            elif child.children is None:
                raise _not_a_directory(here, child.mode)
            node = child
        self._last = (path, node)
        return node

    def _imply(self, parent: PlannedNode, name: bytes, path: bytes, mtime_ns: int) -> PlannedNode:
        """Make a directory that has no member, like the one below, if any."""
        self._meter.entry(len(path))
        found = None
        if not parent.cut_off and name not in parent.hidden:
            found = self._below.lookup(path)
        if found is not None and not stat.S_ISDIR(found.mode):
            raise _not_a_directory(path, found.mode)
        node = self._new_directory(parent, name, PlannedNode(S_IFDIR | 0o755, mtime_ns))
        if found is not None:
            self.needs_below = True
            node.mode, node.mtime_ns, node.record = found.mode, found.mtime_ns, found.record
            node.xattrs = dict(found.xattrs)
        return node

    def _imply_root(self) -> None:
        """Give the root what the one below has, if the archive has no root."""
        if self._has_root:
            return
        found = self._below.lookup(b"")
        if found and (found.record or found.mode != S_IFDIR | 0o755 or found.xattrs):
            self.needs_below = True
            self.root.mode, self.root.mtime_ns = found.mode, found.mtime_ns
            self.root.record, self.root.xattrs = found.record, dict(found.xattrs)

    def _put(self, parent: PlannedNode, name: bytes, node: PlannedNode) -> None:
        """Make ``node`` the entry ``name``, in place of one that is there."""
        if len(name) > NAME_LIMIT:
            raise ArchiveError(f"{display(name)}: a name of more than {NAME_LIMIT} bytes")
        assert parent.children is not None
        replaced = parent.children.pop(name, None)
        if replaced is not None and replaced.children is not None:
            self._last = (b"", self.root)
        parent.children[name] = node

    def _new_directory(self, parent: PlannedNode, name: bytes, node: PlannedNode) -> PlannedNode:
        self._put(parent, name, node)
        node.cut_off = parent.cut_off
        if name in parent.hidden:  # it does not merge with the one that the whiteout deletes
            parent.hidden.discard(name)
            _make_opaque(node)
        return node

    def _add_directory(self, member: Member, path: bytes, parent: PlannedNode, name: bytes) -> None:
        node = self.root
        if path:
            assert parent.children is not None
            old = parent.children.get(name)
            node = old if old and old.children is not None else PlannedNode(S_IFDIR, 0)
            if node is not old:
                self._new_directory(parent, name, node)
        else:
            self._has_root = True
        node.mode, node.mtime_ns = S_IFDIR | member.mode, member.mtime_ns
        self._set_attributes(node, member)

    def _add_file(
        self, member: Member, parent: PlannedNode, name: bytes, chunks: Sequence[Chunk]
    ) -> None:
        """Add anything but a directory and a hard link."""
        mode = _LINK_MODE if member.kind == "l" else member.mode
        node = PlannedNode(_TYPES[member.kind] | mode, member.mtime_ns)
        if member.kind == "l":
            if not member.link or b"\0" in member.link or len(member.link) > PATH_LIMIT:
                raise ArchiveError("a symbolic link without a proper target")
            node.link = member.link
        elif member.kind == "f":
            node.size, node.chunks = member.size, chunks
        self._put(parent, name, node)
        parent.hidden.discard(name)
        self._set_attributes(node, member)

    def _set_attributes(self, node: PlannedNode, member: Member) -> None:
        left: Pairs = ()
        if member.xattrs:
            pairs = recordable(member.xattrs.items())
            if len(pairs) > XATTRS_LIMIT:
                raise ArchiveError(f"more than {XATTRS_LIMIT:,} extended attributes")
            if member.kind in "fcbd":
                carried = dict(pair for pair in pairs if is_of_inode(*pair))
                node.xattrs = {**node.xattrs, **carried}
                pairs = tuple(pair for pair in pairs if not is_of_inode(*pair))
            left = pairs
        node.record = self._records.of(member, left)

    def _add_hard_link(self, member: Member, path: bytes, parent: PlannedNode, name: bytes) -> None:
        target = normalised(member.link)
        node = self._find(target)
        if node is None:
            raise ArchiveError(f"a hard link to {display(target)}, which is not in the layer")
        if node.children is not None or target.startswith(path + b"/"):
            raise ArchiveError(f"a hard link to {display(target)}, a directory or below the link")
        if target != path:
            node.is_linked = True
            self._put(parent, name, node)
            parent.hidden.discard(name)

    def _find(self, path: bytes) -> PlannedNode | None:
        """Return the node at ``path`` of this tree, if any."""
        names = path.split(b"/") if path else []
        self._meter.looked_up(len(names))
        node: PlannedNode | None = self.root
        for name in names:
            if node is None or node.children is None:
                return None
            node = node.children.get(name)
        return node

    def _add_whiteout(self, member: Member, path: bytes) -> bool:
        """Add the whiteout ``path``; return False if the path is not a whiteout."""
        directory, _, name = path.rpartition(b"/")
        parts = directory.split(b"/")
        if any(part.startswith(AUFS) for part in parts):
            return True
        if any(part.startswith(WHITEOUT) for part in parts):
            raise ArchiveError("a whiteout is not a directory")
        if not name.startswith(WHITEOUT):
            return False
        hidden = name.removeprefix(WHITEOUT)
        if hidden in (b"", b".", b".."):
            raise ArchiveError("a whiteout without a name")
        if name == OPAQUE:
            _make_opaque(self._enter(directory, member.mtime_ns))
        elif not name.startswith(AUFS):
            check_length(joined(directory, hidden))
            parent = self._enter(directory, member.mtime_ns)
            self._meter.entry(len(hidden))
            assert parent.children is not None
            child = parent.children.get(hidden)
            if child is None:
                parent.hidden.add(hidden)
            elif child.children is not None:
                _make_opaque(child)
        return True


def _make_opaque(directory: PlannedNode) -> None:
    """Hide what the layers below have in ``directory``."""
    directory.opaque = True
    ahead = [directory]
    while ahead:
        node = ahead.pop()
        if not node.cut_off:  # else those below it are cut off already
            node.cut_off = True
            ahead += [
                child for child in (node.children or {}).values() if child.children is not None
            ]


def _not_a_directory(path: bytes, mode: int) -> ArchiveError:
    if stat.S_ISLNK(mode):
        return ArchiveError(f"a name leads through the symbolic link {display(path)}")
    return ArchiveError(f"{display(path)} is not a directory")
