"""Record what real root gets: ``python -m tests.notify.record [ROW]...``, as root in Debian.

The program runs the programs and scripts of these tests in a chroot, and writes their output to
``expected/``.  That directory is part of the repository, so the tests need no root.
"""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.bases.makers import base

from tests.notify.table import INSTALL, ROWS, row_script

HERE = Path(__file__).parent
EXPECTED = HERE / "expected"
SEEDS = tuple(range(1, 13))
STEPS = 400
FLAGS = ("-std=gnu11", "-O1", "-static", "-no-pie", "-pthread")


def differ_script(seed: int) -> str:
    """Return the script that runs ``differ`` in an empty directory."""
    return f"rm -rf /tmp/w; mkdir /tmp/w; cd /tmp/w; exec differ {seed} {STEPS}"


ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C",
}


def as_root(root: Path, script: str) -> list[str]:
    """Return the words that run a script as root in a chroot with its own /proc."""
    # unshare(1) changes the propagation of "/", so "/" must be a mount point, as in a container.
    binds = f"mount --bind {root} {root} && mount --rbind /dev {root}/dev"
    mounts = f"{binds} && mount -t proc proc {root}/proc"
    chroot = ["setpriv", "--groups", "0", "chroot", str(root), "/bin/sh", "-c", script]
    return ["unshare", "-m", "-p", "-f", "sh", "-c", f'{mounts} && exec "$@"', "sh", *chroot]


def run_as_root(root: Path, script: str) -> str:
    """Return the output of a script that runs as root in a chroot."""
    done = subprocess.run(
        as_root(root, script),
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{script}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def unpacked(directory: Path, name: str) -> Path:
    """Return the base image ``name``, unpacked by root."""
    root = directory / name
    root.mkdir()
    subprocess.run(["tar", "-C", root, "--numeric-owner", "-xf", base(name)], check=True)
    return root


def main() -> None:
    """Record the rows that the arguments name, or everything."""
    if os.geteuid():
        raise SystemExit("only real root knows what real root gets")
    EXPECTED.mkdir(exist_ok=True)
    named = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        busybox = unpacked(Path(name), "busybox")
        for source in (HERE / "programs").glob("*.c"):
            program = busybox / "bin" / source.stem
            subprocess.run(["musl-gcc", *FLAGS, "-o", program, source], check=True)
        for seed in SEEDS if not named else ():
            with lzma.open(EXPECTED / f"differ-{seed}.xz", "wt", preset=9) as file:
                file.write(run_as_root(busybox, differ_script(seed)))
        debian, tools = unpacked(Path(name), "debian"), Path(name) / "tools"
        subprocess.run(["cp", "-a", debian, tools], check=True)
        for path in ("etc/resolv.conf", "etc/hosts"):
            shutil.copyfile(f"/{path}", tools / path)
        run_as_root(tools, f"export DEBIAN_FRONTEND=noninteractive; {INSTALL}")
        rpm = unpacked(Path(name), "rpm")
        roots = {"busybox": busybox, "debian": debian, "tools": tools, "rpm": rpm}
        for row in ROWS:
            if named and row.name not in named:
                continue
            # A row changes the files of its root.
            copy = Path(name) / "copy"
            subprocess.run(["cp", "-a", roots[row.base], copy], check=True)
            (EXPECTED / f"{row.name}.txt").write_text(run_as_root(copy, row_script(row)))
            shutil.rmtree(copy)


if __name__ == "__main__":
    main()
