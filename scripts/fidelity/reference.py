"""The work of real root: base images that hold all packages, and installs in a chroot.

Both are kept beside the base images, and made again, as root, when their sources change.
"""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bases import makers
from scripts.fidelity import entries, inside
from scripts.fidelity.sets import REPOSITORY
from scripts.place import WorkshopError, atomically, digest, find, own

if TYPE_CHECKING:
    from scripts.fidelity.entries import View
    from scripts.fidelity.sets import PackageSet

NEEDS = ("dpkg-dev", "util-linux")
SOURCES = ("entries.py", "inside.py", "reference.py")

# $1 is the tree, the rest are packages.  They and their dependencies go into a repository in the
# image.
FILL = rf"""
set -e; tree=$1; shift
chroot "$tree" apt-get -qq update
mkdir -p "$tree{REPOSITORY}/partial"
chroot "$tree" apt-get -qq -o Dir::Cache::archives={REPOSITORY} --no-install-recommends \
    --download-only -y install "$@" >/dev/null
cd "$tree{REPOSITORY}"
rm -rf partial lock
dpkg-scanpackages -m . >Packages 2>/dev/null
rm -rf "$tree"/etc/apt/sources.list.d/* "$tree"/var/lib/apt/lists/*
echo 'deb [trusted=yes] file:{REPOSITORY} ./' >"$tree/etc/apt/sources.list"
"""

# As in a RUN: /proc of an own PID namespace, in which no process survives; the host's /dev, /sys
# and network names; a fresh login's environment.
INSTALL = r"""
set -e; tree=$1; made=
mount --bind "$tree" "$tree"; cd "$tree"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind -o ro /sys sys
for name in hosts resolv.conf; do
    if ! test -e "etc/$name" -o -L "etc/$name"; then touch "etc/$name"; made="$made etc/$name"; fi
    mount --bind "/etc/$name" "etc/$name"
done
status=0
chroot . /usr/bin/env -i HOME=/root PATH="$3" /bin/sh -c "$2" || status=$?
umount etc/hosts etc/resolv.conf
rm -f $made
exit $status
"""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Reference:
    """Real root's result for a base image: the tree, and the output of programs inside."""

    base: Path
    tree: View
    inside: dict[str, View]


def of(packages: PackageSet) -> Reference:
    """Return the reference of a set; make it now, as root, unless it is kept."""
    base = prepared(packages)
    if (found := kept(packages)) is not None:
        return found
    with atomically(own("bases") / _name(packages)) as part:
        part.write_bytes(pickle.dumps(_install(base, packages)))
    found = kept(packages)
    if found is None:
        raise WorkshopError(f"{packages.name}: the kept result of real root is gone")
    return found


def kept(packages: PackageSet) -> Reference | None:
    """Return the kept reference of a set, for users who are not root."""
    base = find("bases", _base_name(packages))
    target = find("bases", _name(packages))
    if base is None or target is None:
        return None
    tree, look = pickle.loads(target.read_bytes())
    return Reference(base, tree, look)


def prepared(packages: PackageSet) -> Path:
    """Return the tarball of a set's base image; make it now, as root, unless it is kept."""
    base = makers.base(packages.base)
    if found := find("bases", _base_name(packages)):
        return found
    target = own("bases") / _base_name(packages)
    with atomically(target) as part, tempfile.TemporaryDirectory(dir="/var/tmp") as tree:
        _run(["tar", "-C", tree, "-xpf", str(base)])
        resolver = Path(tree, "etc/resolv.conf")
        shutil.copyfile("/etc/resolv.conf", resolver)
        _run(["sh", "-c", FILL, "sh", tree, *packages.archives])
        resolver.unlink()
        _run(["tar", "-C", tree, "--numeric-owner", "-cf", str(part), "."])
    return target


def _base_name(packages: PackageSet) -> str:
    base = makers.tarball(packages.base)
    if not packages.archives:
        return base
    return f"with-{digest([], base, FILL, *packages.archives)}.tar"


def _name(packages: PackageSet) -> str:
    sources = [Path(__file__).parent / name for name in SOURCES]
    return f"reference-{digest(sources, _base_name(packages), packages.script)}.pickle"


def _install(base: Path, packages: PackageSet) -> tuple[View, dict[str, View]]:
    """Install in a chroot, and look."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        tree = Path(directory, "tree")
        tree.mkdir(0o755)
        _run(["tar", "-C", str(tree), "--xattrs", "--xattrs-include=*", "-xpf", str(base)])
        for script in (packages.script, inside.SCRIPT):
            unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
            _run([*unshare, "sh", "-c", INSTALL, "sh", str(tree), script, PATH])
        return entries.of_directory(tree), inside.read(tree / inside.DIRECTORY[1:])


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | {"LC_ALL": "C.UTF-8"},
        umask=0o022,
        check=False,
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-20:])
        shown = " ".join(command)[:200]
        raise WorkshopError(f"real root: {shown}: exit status {done.returncode}\n{tail}")
