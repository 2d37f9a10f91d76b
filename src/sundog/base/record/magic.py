"""The first bytes of files, which tell their formats."""

from __future__ import annotations

ELF_MAGIC = b"\x7fELF"
SQUASHFS_MAGIC = b"hsqs"  # struct squashfs_super_block of Linux's squashfs_fs.h
# SIF has it behind the launch script: github.com/apptainer/sif, pkg/sif.
SIF_MAGIC, SIF_MAGIC_PLACE = b"SIF_MAGIC", 32
