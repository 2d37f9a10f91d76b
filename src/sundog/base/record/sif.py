"""The layout of a SIF, the file format of Apptainer and Singularity.

A header, a table of descriptors, and the objects that they describe.  All numbers are
little-endian.  Specification: github.com/apptainer/sif, pkg/sif.
"""

from __future__ import annotations

from sundog.base.cpython import Struct

LAUNCH = b"#!/usr/bin/env run-singularity\n"
SIF_VERSION = b"01"
# Launch script, magic, version, architecture, UUID, two times; free descriptors and all; place and
# size of their table; place and size of the objects.
HEADER = Struct("<32s10s3s3s16s8q")
# Kind, in use, ID, group, link; offset, size, size with the gap before it; two times, uid, gid;
# name; what only this kind has.
DESCRIPTOR = Struct("<i?3I7q128s384s")
# What a partition has: the kind of file system, that of the partition, and the architecture.
PARTITION = Struct("<2i3s")

TABLE_PLACE, TABLE_LENGTH = 4096, 48
DESCRIPTOR_LIMIT = 4096  # in a file of a stranger
GROUP_MARK = 0xF0000000  # in each group, and in a link that names a group

DEFINITION_OBJECT = 0x4001
PARTITION_OBJECT = 0x4004
SIGNATURE_OBJECT = 0x4005
JSON_OBJECT = 0x4006

SQUASHFS_SYSTEM = 1
ENCRYPTED_SYSTEM = 5
PRIMARY_PARTITION = 2
