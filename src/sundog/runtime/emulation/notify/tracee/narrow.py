"""Structures of i386: ``struct stat`` in three generations, and directory entries.

Specification: ``arch/x86/include/uapi/asm/stat.h``; how the kernel fills them: ``fs/stat.c`` and
``arch/x86/kernel/sys_ia32.c``, ``fs/readdir.c`` (compat_filldir).
"""

from __future__ import annotations

from sundog.base.cpython import Struct
from sundog.runtime.emulation.notify.tracee.call import U32, KernelAnswers

SHORT_ID = Struct("=H")
U16 = 0xFFFF
_U64 = (1 << 64) - 1
_OVERFLOW_ID = 65534  # /proc/sys/kernel/overflowuid, overflowgid
MAX_NON_LFS = 0x7FFFFFFF  # the largest size and offset that 32 bits hold

# struct statx: mask, block size, attributes, links, uid, gid, mode, inode, size, blocks, mask of
# attributes; access, birth, change and modification time; major and minor of rdev and of device.
STATX = Struct("=IIQIIIH2xQQQQ" + 4 * "qI4x" + "IIII112x")

# struct linux_dirent64: inode, offset, length, type, and then the name.
DIRENT64 = Struct("=QqHB")
# struct compat_linux_dirent: inode, offset, length, and then the name; the last byte is the type.
NARROW_DIRENT = Struct("=IIH")


class StatForm:
    """A generation of ``struct stat``, and what it can hold.

    largest         the largest inode number, number of links and size
    short_ids       IDs have 16 bits
    old_devices     devices have 8 bits for each of their two numbers
    is_large        sizes have 64 bits, and inode numbers are there twice
    has_nanoseconds block counts and parts of seconds are there
    """

    __slots__ = (
        "has_nanoseconds",
        "is_large",
        "largest",
        "old_devices",
        "short_ids",
        "structure",
    )

    def __init__(
        self,
        structure: str,
        largest: tuple[int, int, int],
        *,
        short_ids: bool = True,
        old_devices: bool = False,
        is_large: bool = False,
        has_nanoseconds: bool = True,
    ) -> None:
        self.structure = Struct(structure)
        self.largest = largest
        self.short_ids = short_ids
        self.old_devices = old_devices
        self.is_large = is_large
        self.has_nanoseconds = has_nanoseconds

    def packed(self, statx: bytes) -> bytes:
        """Return the structure that says what the ``struct statx`` says.

        Raises KernelAnswers if it can't: the kernel says EOVERFLOW then.
        """
        _, block_size, _, links, uid, gid, mode, inode, size, blocks, _, *rest = STATX.unpack(statx)
        inodes, most_links, most = self.largest
        if inode > inodes or links > most_links or size > most:
            raise KernelAnswers
        accessed, _, changed, modified = rest[0:2], rest[2:4], rest[4:6], rest[6:8]
        encode = _old_device if self.old_devices else new_device
        device, rdev = encode(*rest[10:12]), encode(*rest[8:10])
        ids = [short_id(uid), short_id(gid)] if self.short_ids else [uid, gid]
        times = [each & U32 for each in (*accessed, *modified, *changed)]
        head = [mode, links, *ids, rdev]
        if self.is_large:
            members = [device, inode & U32, *head, size, block_size, blocks, *times, inode]
        elif self.has_nanoseconds:
            members = [device, inode, *head, size, block_size, blocks & U32, *times]
        else:
            members = [device, inode, *head, size & U32, *times[::2]]
        return self.structure.pack(*members)


# struct stat64, struct stat, struct __old_kernel_stat.
STAT64 = StatForm("=Q4xIIIIIQ4xqIQ6IQ", (_U64, U32, _U64), short_ids=False, is_large=True)
SHORT_STAT = StatForm("=II4HI3I6I8x", (U32, U16, MAX_NON_LFS))
OLD_STAT = StatForm("=7H2x4I", (U16, U16, _U64), old_devices=True, has_nanoseconds=False)


def short_id(value: int) -> int:
    """Return the 16 bits that show the ID ``value``."""
    return _OVERFLOW_ID if value > U16 else value


def new_device(major: int, minor: int) -> int:
    """Return a device as 32 bits: linux/kdev_t.h, new_encode_dev."""
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def _old_device(major: int, minor: int) -> int:
    """Return a device as 16 bits: linux/kdev_t.h, old_encode_dev."""
    return (major << 8 | minor) & U16


def _narrow_offset(offset: int) -> int:
    """Return the ``offset`` of an entry as the kernel gives it to 32-bit programs.

    ext4 makes offsets from hashes: of 64 bits for the supervisor, and for others of the upper half
    (fs/ext4/dir.c, hash2pos).
    """
    return offset if offset <= MAX_NON_LFS else offset >> 32


def narrow_offsets(entries: bytes) -> bytes:
    """Return ``entries``, which are of getdents64(2), with the offsets for 32-bit programs."""
    packed = bytearray(entries)
    start = 0
    while start < len(entries):
        inode, offset, length, kind = DIRENT64.unpack_from(entries, start)
        DIRENT64.pack_into(packed, start, inode, _narrow_offset(offset), length, kind)
        start += length
    return bytes(packed)


def narrow_entries(entries: bytes) -> bytes:
    """Return ``entries``, which are of getdents64(2), as getdents(2) of i386 returns them.

    No entry becomes longer.  Raises OverflowError if an inode number needs 64 bits.
    """
    packed = bytearray()
    start = 0
    while start < len(entries):
        inode, offset, length, kind = DIRENT64.unpack_from(entries, start)
        name, _, _ = entries[start + DIRENT64.size : start + length].partition(b"\0")
        if inode > U32:
            raise OverflowError
        size = (NARROW_DIRENT.size + len(name) + 2 + 3) & ~3
        entry = NARROW_DIRENT.pack(inode, _narrow_offset(offset) & U32, size) + name
        packed += entry.ljust(size - 1, b"\0") + bytes((kind,))
        start += length
    return bytes(packed)
