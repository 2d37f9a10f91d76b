"""The bits of a file's mode: inode(7), sys/stat.h."""

from __future__ import annotations

S_IFMT = 0o170000  # the bits of the file's type
S_IFIFO = 0o010000
S_IFCHR = 0o020000
S_IFDIR = 0o040000
S_IFBLK = 0o060000
S_IFREG = 0o100000
S_IFLNK = 0o120000
S_IFSOCK = 0o140000

MODE_MASK = 0o7777  # all bits that chmod(2) can set
PERMISSIONS = 0o777
S_ISUID = 0o4000
S_ISGID = 0o2000
S_ISVTX = 0o1000
S_IXGRP = 0o010
S_IRWXG = 0o070
S_IWGRP = 0o020
S_IWOTH = 0o002
