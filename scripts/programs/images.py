"""The images in which the rows run: made once by real root, and used on both sides.

Real root needs a directory, and the user's `ch-image import` needs a tarball. Both are kept beside
the base images, and made again when their sources change.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from scripts.bases import makers
from scripts.place import WorkshopError, atomically, digest, find, own

NEEDS = ("debootstrap", "dpkg-dev", "iproute2", "util-linux")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RECIPES = Path(__file__).parent / "recipes"
# By image.
BASES = {
    "debian": "debian",
    "managers": "debian",
    "more": "debian",
    "postgresql": "debian",
    "rpm": "rpm",
    "services": "debian",
}


@dataclass(frozen=True)
class Image:
    """An image by its recipe's name: a tarball with owners, and the same as root's directory."""

    name: str
    tarball: Path
    tree: Path


def make(name: str) -> Image:
    """Return an image; make it now, as root, unless it is kept."""
    recipe = RECIPES / f"{name}.sh"
    identity = digest([recipe], makers.tarball(BASES[name]))
    tarball = own("bases") / f"programs-{name}-{identity}.tar"
    tree = own("trees") / f"programs-{name}-{identity}"
    if find("bases", tarball.name) is None:
        _build(makers.base(BASES[name]), recipe, tarball)
    if not tree.exists():
        part = tree.with_name(f".{tree.name}.{os.getpid()}")
        part.mkdir(mode=0o755)
        _run(["tar", "-C", str(part), "--xattrs", "--xattrs-include=*", "-xpf", str(tarball)])
        part.rename(tree)
    for old in (*tarball.parent.glob(f"programs-{name}-*.tar"), *tree.parent.glob(f"*-{name}-*")):
        if old not in (tarball, tree):
            _remove(old)
    return Image(name, tarball, tree)


def _build(base: Path, recipe: Path, target: Path) -> None:
    """Unpack a base image, run its recipe as root with the tree as $1, and pack it."""
    print(f"  making {target}", flush=True)
    tree = own("trees") / f".building-{target.stem}.{os.getpid()}"
    tree.mkdir(mode=0o755)
    try:
        _run(["tar", "-C", str(tree), "--xattrs", "--xattrs-include=*", "-xpf", str(base)])
        shutil.copyfile("/etc/resolv.conf", tree / "etc/resolv.conf")
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        _run([*unshare, "sh", "-e", str(recipe), str(tree)])
        (tree / "etc/resolv.conf").unlink()
        with atomically(target) as part:
            pack = ["tar", "-C", str(tree), "--numeric-owner", "--one-file-system"]
            _run([*pack, "--xattrs", "--xattrs-include=*", "-cf", str(part), "."])
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def _remove(old: Path) -> None:
    if old.is_dir():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink()


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8"},
        umask=0o022,
        check=False,
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-30:])
        shown = " ".join(command)[:200]
        raise WorkshopError(f"real root: {shown}: exit status {done.returncode}\n{tail}")
