"""The upper directory of a container's overlay, as the host names it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.conftest import run_program

if TYPE_CHECKING:
    from pathlib import Path

# In a chroot whose root is an overlay.
LOOK = """
import os, sys
from sundog.front.agent.containers import overlay_upper
from sundog.front.agent.entrance import Detacher
proc = os.open("/proc", os.O_RDONLY)
with Detacher() as detacher:
    os.chroot(sys.argv[1])
    upper = overlay_upper(detacher, os.getpid(), proc)
found, above = os.fstat(upper), os.stat("..", dir_fd=upper)
print(found.st_dev, found.st_ino, above.st_ino == found.st_ino)
"""
MOUNT = """
options="userxattr,lowerdir=$1/lower,upperdir=$1/link/up per,workdir=$1/work"
mount -t overlay -o "$options" none "$1/m"
exec "$2" -c "$3" "$1/m"
"""


def test_the_way_leads_over_links_of_the_host(tmp_path: Path) -> None:
    for name in ("lower", "there/up per", "work", "m"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "there")
    words = ["unshare", "-rm", "sh", "-ec", MOUNT, "sh", str(tmp_path), sys.executable, LOOK]
    upper = (tmp_path / "there/up per").stat()
    assert run_program(words).stdout == f"{upper.st_dev} {upper.st_ino} True\n"
