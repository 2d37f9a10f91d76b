"""Record what real root gets: ``python -m tests.runtime.notify.record [NAME]...``, as root.

The program runs the programs and scripts of these tests in a chroot, and writes their output to
``expected/``.  That directory is part of the repository, so the tests need no root.  A NAME is a
row, ``differ`` or ``permissions``.  ``--into DIR --seeds FIRST COUNT`` records other random steps
of ``permissions`` in DIR: `make fuzz` does that.
"""

from __future__ import annotations

import argparse
import lzma
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from scripts.bases.makers import base

from tests.runtime.notify.table import INSTALL, ROWS, row_script

HERE = Path(__file__).parent
EXPECTED = HERE / "expected"
SEEDS = tuple(range(1, 13))
STEPS = 400
PERMISSION_SEEDS = range(1, 4)
ROUNDS = 80
FLAGS = ("-std=gnu11", "-O1", "-static", "-no-pie", "-pthread")


def differ_script(seed: int) -> str:
    """Return the script that runs ``differ`` in an empty directory."""
    return f"rm -rf /tmp/w; mkdir /tmp/w; cd /tmp/w; exec differ {seed} {STEPS}"


def permissions_script(seed: int, mode: str) -> str:
    """Return the script that runs ``permissions``; ``mode`` is "strict" or "".

    Its directory is so deep that no path of the program leads out of /tmp/w.
    """
    place = "/tmp/w/1/2/3"
    return f"rm -rf /tmp/w; mkdir -p {place}; cd {place}; exec permissions {seed} {ROUNDS} {mode}"


def permissions_name(seed: int, mode: str) -> str:
    """Return the name of the file with the output of ``permissions_script``."""
    return f"permissions-{seed}{mode and '-' + mode}.xz"


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
    return ["unshare", "-m", "-p", "-i", "-f", "sh", "-c", f'{mounts} && exec "$@"', "sh", *chroot]


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


def other_roots(directory: Path, bases: set[str]) -> dict[str, Path]:
    """Return root directories by the names of their ``bases``, but not BusyBox's."""
    roots: dict[str, Path] = {}
    for name in bases & {"debian", "rpm"}:
        roots[name] = unpacked(directory, name)
    if "tools" in bases:
        roots["tools"] = tools = directory / "tools"
        debian = roots.get("debian") or unpacked(directory, "debian")
        subprocess.run(["cp", "-a", debian, tools], check=True)
        for path in ("etc/resolv.conf", "etc/hosts"):
            shutil.copyfile(f"/{path}", tools / path)
        run_as_root(tools, f"export DEBIAN_FRONTEND=noninteractive; {INSTALL}")
    return roots


def record_packed(root: Path, script: str, target: Path) -> None:
    """Write the output of a script to ``target``, compressed."""
    with lzma.open(target, "wt", preset=9) as file:
        file.write(run_as_root(root, script))


def record_permissions(root: Path, seeds: range, directory: Path) -> None:
    """Record ``permissions`` with each of the ``seeds``."""
    for seed in seeds:
        for mode in ("", "strict"):
            target = directory / permissions_name(seed, mode)
            record_packed(root, permissions_script(seed, mode), target)


def main() -> None:
    """Record the rows that the arguments name, or everything."""
    if os.geteuid():
        raise SystemExit("only real root knows what real root gets")
    parser = argparse.ArgumentParser(prog="python3 -m tests.runtime.notify.record")
    parser.add_argument("--into", metavar="DIR", type=Path)
    parser.add_argument("--seeds", metavar=("FIRST", "COUNT"), type=int, nargs=2, default=(1, 1))
    parser.add_argument("names", metavar="NAME", nargs="*")
    options = parser.parse_args()
    if unknown := {*options.names} - {"differ", "permissions", *(row.name for row in ROWS)}:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    EXPECTED.mkdir(exist_ok=True)
    named = options.names
    with tempfile.TemporaryDirectory() as name:
        busybox = unpacked(Path(name), "busybox")
        for source in (HERE / "programs").glob("*.c"):
            program = busybox / "bin" / source.stem
            subprocess.run(["musl-gcc", *FLAGS, "-o", program, source], check=True)
        if options.into:
            first, count = options.seeds
            record_permissions(busybox, range(first, first + count), options.into)
            return
        for seed in SEEDS if not named or "differ" in named else ():
            record_packed(busybox, differ_script(seed), EXPECTED / f"differ-{seed}.xz")
        if not named or "permissions" in named:
            record_permissions(busybox, PERMISSION_SEEDS, EXPECTED)
        rows = [row for row in ROWS if not named or row.name in named]
        roots = {"busybox": busybox, **other_roots(Path(name), {row.base for row in rows})}
        for row in rows:
            # A row changes the files of its root.
            copy = Path(name) / "copy"
            subprocess.run(["cp", "-a", roots[row.base], copy], check=True)
            (EXPECTED / f"{row.name}.txt").write_text(run_as_root(copy, row_script(row)))
            shutil.rmtree(copy)


if __name__ == "__main__":
    main()
