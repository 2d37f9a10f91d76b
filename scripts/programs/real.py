"""Run a row as real root: on an overlay that is thrown away.

The results are kept, and a row runs again when it, its image or the way of running change.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.place import atomically, digest, own
from scripts.programs import inside
from scripts.programs.images import PATH

if TYPE_CHECKING:
    from scripts.programs.images import Image
    from scripts.programs.rows import Row

HERE = Path(__file__).parent
SOURCES = (HERE / "inside.py", HERE / "real.py")
MARGIN = 60  # seconds for what comes before and after the script
# A row sees the processes, ports and IPC objects of no other row, on both sides.
ALONE = ("unshare", "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child")

# $1 is the tree, $2 an empty directory, $3 says where the row runs, the rest is the command. As in
# `ch-run -W`: an overlay in memory, a /tmp of its own (in a RUN it is the image's), the host's /dev
# and /sys, its network names.
SETUP = r"""
set -e; tree=$1; place=$2; where=$3; shift 3
mount -t tmpfs -o mode=755 tmpfs "$place"
mkdir "$place/upper" "$place/work" "$place/root"
mount -t overlay -o "lowerdir=$tree,upperdir=$place/upper,workdir=$place/work" overlay "$place/root"
cd "$place/root"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind -o ro /sys sys
test "$where" = RUN || mount -t tmpfs -o mode=1777 tmpfs tmp
for name in hosts resolv.conf; do
    test -e "etc/$name" || touch "etc/$name"
    mount --bind "/etc/$name" "etc/$name"
done
ip link set lo up
pivot_root . mnt  # not only chroot: the kernel forbids chrooted programs to make user namespaces
umount -n -l mnt 2>/dev/null || true  # not each image has umount
exec chroot --groups=0 . "$@"
"""


def run(row: Row, image: Image) -> inside.Result:
    """Return the result of a row; run it now, unless it is kept."""
    command = inside.command(row)
    known = digest(SOURCES, image.tarball.name, row.options["where"], *command)
    name = f"{row.family}-{row.name}-{known}.json"
    kept = own("programs") / name
    if not kept.exists():
        result = _run(row, image, command)
        with atomically(kept) as part:
            part.write_text(json.dumps(asdict(result)))
        for old in kept.parent.glob(f"{row.family}-{row.name}-????????????.json"):
            if old != kept:
                old.unlink()
    values = json.loads(kept.read_text())
    return inside.Result(values["output"], values["status"], tuple(values["made"]))


def _run(row: Row, image: Image, command: list[str]) -> inside.Result:
    environment = ["/usr/bin/env", "-i", "HOME=/root", "LANG=C.UTF-8", f"PATH={PATH}"]
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="programs.") as place:
        where = row.options["where"]
        setup = ["sh", "-c", SETUP, "sh", str(image.tree), place, where]
        try:
            done = subprocess.run(
                [*ALONE, *setup, *environment, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="backslashreplace",
                timeout=int(row.options["seconds"]) + MARGIN,
                umask=0o022,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return inside.Result(str(error.stdout), None)
    return inside.read(done.stdout)
