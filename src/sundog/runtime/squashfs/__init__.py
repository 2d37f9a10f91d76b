"""Read SquashFS 4.0: superblock, metadata, inodes, directories, contents, extended attributes.

``image.SquashfsImage`` is the door.  Everything in such a file may be hostile.  A damaged file ends
in one SquashfsError, and a failing disk in a KernelError; nothing else is raised.  Every cache has
a bound, and no table is ever read whole but that of the IDs (256 KiB at most).

Specification: Documentation/filesystems/squashfs.rst, and squashfs_fs.h of Linux, which names the
fields.  All integers are little-endian.
"""
