"""``layers/ID/owners``: what the inodes of a layer's tree do not show.

All files of an ordinary user belong to that user, so a layer's manifest records what real root
would see:

* owners other than 0:0
* device nodes; an empty regular file with the device's mode bits takes the place of each
* extended attributes that the inode cannot carry
* as data, the whiteouts and opaque marks of the OCI image specification (layer.md, "Whiteouts")

The manifest has no mode bits: the inode alone decides them.

Format: the line ``sundog-owners 1``, then ``path NUL attributes NUL`` for each path, sorted.  The
attributes are words: kind, uid, gid, then any of ``dev=MAJOR:MINOR``, ``opaque``, ``guessed`` and
``xattr=NAME:VALUE`` in hexadecimal.  Layers repeat a few attribute strings over and over, so the
reader parses equal strings once, and their paths share one record.
"""

from __future__ import annotations

import os

from sundog.base.kernel.modes import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG
from sundog.errors import StoreError

OWNERS_MAGIC = b"sundog-owners 1\n"
# The kinds of inodes in a record, by the type in their mode.
INODE_KINDS = {
    S_IFREG: "f",
    S_IFDIR: "d",
    S_IFLNK: "l",
    S_IFIFO: "p",
    S_IFCHR: "c",
    S_IFBLK: "b",
}
DEVICE_KINDS = "cb"
OWNER_KINDS = (*INODE_KINDS.values(), "w")


class OwnerRecord:
    """The kind, owner and attributes of one path of a layer.  Immutable; paths share it.

    kind    ``f`` file, ``d`` directory, ``l`` symlink, ``c`` and ``b`` devices, ``p`` FIFO, or
            ``w``: the path is deleted from the layers below
    uid, gid, rdev
            as ``stat`` would show them; ``rdev`` is from os.makedev, and 0 for all but devices
    xattrs  (name, value) pairs in order of name
    opaque  the directory hides what the layers below have in it
    guessed the owner is unknown: the file comes from an emulation that forgets owners, or from the
            user's own directory.  Only files and directories with set-ID bits have this mark,
            because it matters for them alone
    """

    __slots__ = ("gid", "guessed", "kind", "opaque", "rdev", "uid", "xattrs")

    def __init__(
        self,
        kind: str,
        uid: int = 0,
        gid: int = 0,
        *,
        rdev: int = 0,
        xattrs: tuple[tuple[bytes, bytes], ...] = (),
        opaque: bool = False,
        guessed: bool = False,
    ) -> None:
        self.kind = kind
        self.uid = uid
        self.gid = gid
        self.rdev = rdev
        self.xattrs = tuple(sorted(xattrs))
        self.opaque = opaque
        self.guessed = guessed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnerRecord) and self.values() == other.values()

    def __hash__(self) -> int:
        return hash(self.values())

    def __repr__(self) -> str:
        return f"OwnerRecord({self.pack().decode()!r})"

    @property
    def is_plain(self) -> bool:
        """Tell whether the record says only what the inode says, too."""
        return self.kind in "fdlp" and not (
            self.uid or self.gid or self.xattrs or self.opaque or self.guessed
        )

    def values(self) -> tuple[object, ...]:
        """Return all that the record says, as a key of dictionaries."""
        return (
            *(self.kind, self.uid, self.gid, self.rdev, self.xattrs),
            *(self.opaque, self.guessed),
        )

    def pack(self) -> bytes:
        """Return the attribute words of the record."""
        words = [b"%s %d %d" % (self.kind.encode(), self.uid, self.gid)]
        if self.kind in "cb":
            words.append(b"dev=%d:%d" % (os.major(self.rdev), os.minor(self.rdev)))
        if self.opaque:
            words.append(b"opaque")
        if self.guessed:
            words.append(b"guessed")
        words.extend(
            b"xattr=%s:%s" % (name.hex().encode(), value.hex().encode())
            for name, value in self.xattrs
        )
        return b" ".join(words)

    @classmethod
    def unpack(cls, attributes: bytes) -> OwnerRecord:
        """Return the record that attribute words describe.  Raises ValueError if they are wrong."""
        kind, uid, gid, *words = attributes.decode("ascii").split(" ")
        if kind not in OWNER_KINDS:
            raise ValueError(f"unknown kind {kind!r}")
        rdev, opaque, guessed = 0, False, False
        xattrs = []
        for word in words:
            key, _, value = word.partition("=")
            left, _, right = value.partition(":")
            if key == "dev":
                rdev = os.makedev(int(left), int(right))
            elif key == "xattr":
                xattrs.append((bytes.fromhex(left), bytes.fromhex(right)))
            elif word == "opaque":
                opaque = True
            elif word == "guessed":
                guessed = True
            else:
                raise ValueError(f"unknown attribute {word!r}")
        return cls(
            kind,
            int(uid),
            int(gid),
            rdev=rdev,
            xattrs=tuple(xattrs),
            opaque=opaque,
            guessed=guessed,
        )


# Path → record.  A path is relative to the layer's root, without a leading "/" or "./"; the root
# itself is b"".
OwnersManifest = dict[bytes, OwnerRecord]


def pack_owners(manifest: OwnersManifest) -> bytes:
    """Return the bytes of the file that holds ``manifest``; equal manifests give equal bytes."""
    packed: dict[int, bytes] = {}  # by identity: paths share records
    data = bytearray(OWNERS_MAGIC)  # a list of all parts would take three times as much memory
    for path in sorted(manifest):
        record = manifest[path]
        attributes = packed.get(id(record))
        if attributes is None:
            attributes = packed[id(record)] = record.pack()
        data += b"%s\0%s\0" % (path, attributes)
    return bytes(data)


def unpack_owners(data: bytes) -> OwnersManifest:
    """Return the manifest that ``data`` contains.  Raises ValueError if ``data`` is damaged."""
    if not data.startswith(OWNERS_MAGIC):
        raise ValueError("no owners manifest of version 1")
    fields = data[len(OWNERS_MAGIC) :].split(b"\0")
    if len(fields) % 2 == 0 or fields.pop():
        raise ValueError("cut in the middle of a record")
    records: dict[bytes, OwnerRecord] = {}
    for attributes in set(fields[1::2]):
        records[attributes] = OwnerRecord.unpack(attributes)
    return dict(zip(fields[::2], map(records.__getitem__, fields[1::2]), strict=True))


def read_owners(path: bytes) -> OwnersManifest:
    """Read the manifest in the file ``path``.  Raises OSError; StoreError if it is damaged.

    The file may come from an image, so this neither waits for a FIFO nor reads a device.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if os.fstat(file.fileno()).st_mode & S_IFMT != S_IFREG:
                raise ValueError("not a regular file")
            data = file.read()
        return unpack_owners(data)
    except ValueError as error:
        shown = path.decode("utf-8", "backslashreplace")
        raise StoreError(f"damaged layer in storage: {shown}: {error}") from error
