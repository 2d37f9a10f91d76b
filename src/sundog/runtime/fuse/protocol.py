"""The messages between the kernel and a file system's server, as data.

Specification: linux/fuse.h, protocol 7.  Numbers have this machine's byte order.  Only what a
read-only file system needs is here.
"""

from __future__ import annotations

from sundog.base.cpython import Struct

# Opcodes.
LOOKUP = 1
_FORGET = 2
GETATTR = 3
READLINK = 5
OPEN = 14
READ = 15
STATFS = 17
GETXATTR = 22
LISTXATTR = 23
INIT = 26
OPENDIR = 27
READDIR = 28
INTERRUPT = 36
DESTROY = 38
_BATCH_FORGET = 42
READDIRPLUS = 44

# The kernel waits for no answer to these.
UNANSWERED = frozenset({_FORGET, INTERRUPT, _BATCH_FORGET})

ROOT_ID = 1  # FUSE_ROOT_ID, the node of the root directory
# Nodes of other inodes are their references, moved past 0 (none) and 1 (the root).
FIRST_ID = 2

# The kernel refuses a shorter buffer for requests (FUSE_MIN_READ_BUFFER).
REQUEST_SIZE = 1 << 16
# The longest name that the kernel passes on (FUSE_NAME_MAX) is longer than a directory entry.
NAME_MAX = 255

# struct fuse_in_header: len, opcode, unique, nodeid, (uid, gid,) pid, and unused words.  The pid is
# that of the thread, in the PID namespace of the process that has mounted.
REQUEST_HEAD = Struct("=IIQQ8xI4x")
# struct fuse_out_header: len, error, unique.
REPLY_HEAD = Struct("=IiQ")

# struct fuse_init_in: major, minor, max_readahead, flags; newer kernels send more.
INIT_IN = Struct("=4I")
# struct fuse_init_out: major, minor, max_readahead, flags, max_background, congestion_threshold,
# max_write, time_gran, max_pages, map_alignment, flags2, and unused words.
INIT_OUT = Struct("=4I2H2I2HI28x")
MAJOR = 7
MINOR = 31  # what these structures are like

# Flags of INIT.
_ASYNC_READ = 1 << 0
_DO_READDIRPLUS = 1 << 13
_READDIRPLUS_AUTO = 1 << 14
_PARALLEL_DIROPS = 1 << 18
NO_OPEN_SUPPORT = 1 << 17
_PAGES_LIMIT = 1 << 22
_CACHE_SYMLINKS = 1 << 23
NO_OPENDIR_SUPPORT = 1 << 24
WANTED_FLAGS = (
    _ASYNC_READ
    | _DO_READDIRPLUS
    | _READDIRPLUS_AUTO
    | _PARALLEL_DIROPS
    | NO_OPEN_SUPPORT
    | _PAGES_LIMIT
    | _CACHE_SYMLINKS
    | NO_OPENDIR_SUPPORT
)

# struct fuse_attr: ino, size, blocks, atime, mtime, ctime, their nanoseconds, mode, nlink, uid,
# gid, rdev, blksize, flags.
ATTRIBUTES = Struct("=6Q10I")
# struct fuse_entry_out without its attributes: nodeid, generation, entry_valid, attr_valid, and
# their nanoseconds.
ENTRY_OUT = Struct("=4Q2I")
# struct fuse_attr_out without its attributes: attr_valid, attr_valid_nsec, dummy.
ATTR_OUT = Struct("=QII")
# struct fuse_dirent without its name: ino, off, namelen, type.  A record ends at a multiple of 8.
DIRENT = Struct("=QQII")
# struct fuse_read_in: fh, offset, size, then what a reader does not need.
READ_IN = Struct("=QQI")
# struct fuse_open_out: fh, open_flags, padding.
OPEN_OUT = Struct("=QII")
KEEP_CACHE = 1 << 1
CACHE_DIR = 1 << 3
# struct fuse_interrupt_in: the unique number of another request.
INTERRUPT_IN = Struct("=Q")
# struct fuse_getxattr_in: size, padding; then the name.  struct fuse_getxattr_out is the same.
XATTR = Struct("=II")
# struct fuse_kstatfs: blocks, bfree, bavail, files, ffree, bsize, namelen, frsize, and unused
# words.
STATFS_OUT = Struct("=5Q3I28x")
