"""Fresh file systems.

When ext4 looks for a free inode, it passes over those of recently deleted files, one by one.  After
many files have been deleted, making files takes up to 20 times as long.  So each of the compared
tools gets a file system of its own.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts import account

WHOLE = 24 << 30  # for a part of the benchmark
ONE = 8 << 30  # for one tool's storage


@contextlib.contextmanager
def ext4(mount: Path, owner: account.Account, size: int = ONE) -> Iterator[Path]:
    """Mount at the directory ``mount`` an ext4 in a loop-mounted file, and make it the owner's."""
    with tempfile.TemporaryDirectory(prefix="sundog-bench.", dir="/var/tmp") as work:
        image = Path(work) / "ext4"
        with image.open("wb") as file:
            file.truncate(size)
        made = ["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"]
        subprocess.run([*made, str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(mount)], check=True)
        try:
            os.chown(mount, owner.uid, owner.gid)
            yield mount
        finally:
            subprocess.run(["umount", "--lazy", str(mount)], check=True)
