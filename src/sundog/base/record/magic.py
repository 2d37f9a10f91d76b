"""The first bytes of files, which tell their formats."""

from __future__ import annotations

ELF_MAGIC = b"\x7fELF"
SQUASHFS_MAGIC = b"hsqs"  # struct squashfs_super_block of Linux's squashfs_fs.h
# SIF has it behind the launch script: github.com/apptainer/sif, pkg/sif.
SIF_MAGIC, SIF_MAGIC_PLACE = b"SIF_MAGIC", 32
# A file of Singularity 2 is a line for the shell, and SquashFS behind it.
OLD_IMAGE_START, OLD_IMAGE_PLACE = b"#!", 31

IMAGE_HEAD = SIF_MAGIC_PLACE + len(SIF_MAGIC)  # bytes that tell the kind of an image
SQUASHFS_IMAGE, SIF_IMAGE, OLD_IMAGE = "SquashFS", "SIF", "Singularity 2"


def image_kind(start: bytes) -> str:
    """Return the kind of an image that is one file and begins with ``start``; "" for others."""
    if start.startswith(SQUASHFS_MAGIC):
        return SQUASHFS_IMAGE
    if start.startswith(SIF_MAGIC, SIF_MAGIC_PLACE):
        return SIF_IMAGE
    if start.startswith(OLD_IMAGE_START) and start.startswith(SQUASHFS_MAGIC, OLD_IMAGE_PLACE):
        return OLD_IMAGE
    return ""
