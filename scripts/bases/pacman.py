"""A distribution whose package manager is pacman, with a repository of one package of our own.

Arch Linux's mirrors may be out of reach, but Debian has pacman and makepkg. An ordinary user builds
the package, pacman/PKGBUILD, in the image itself, because makepkg refuses root.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from scripts.bases.bootstrap import bootstrap, needs

HERE = Path(__file__).parent / "pacman"
NEEDS = tuple(needs())
INCLUDE = (
    "acl", "apt", "binutils", "fakeroot", "file", "gettext-base", "libarchive-tools", "libcap2-bin",
    "makepkg", "pacman-package-manager", "passwd", "util-linux", "xz-utils", "zstd",
)  # fmt: skip

# $1 is the userland's tree; $PACKAGE holds the package's sources.
HOOK = r"""
set -e; cd "$1"
mkdir -p srv/repo var/tmp/build var/lib/pacman etc/pacman.d/hooks
cp "$PACKAGE"/* var/tmp/build/
chmod 777 var/tmp/build
chroot . setpriv --reuid=65534 --regid=65534 --clear-groups sh -c '
    cd /var/tmp/build
    export HOME=$PWD PKGEXT=.pkg.tar.gz PACKAGER=nobody SOURCE_DATE_EPOCH=1600000000
    makepkg --nodeps --noconfirm'
cp var/tmp/build/*.pkg.tar.gz srv/repo/
chmod 644 srv/repo/*
rm -rf var/tmp/build
chroot . sh -c 'cd /srv/repo && repo-add -q made.db.tar.gz *.pkg.tar.gz'
cat >etc/pacman.conf <<E
[options]
Architecture = auto
SigLevel = Never
[made]
Server = file:///srv/repo
E
rm -f etc/os-release etc/hostname etc/resolv.conf
cat >etc/os-release <<E
NAME="pacman test distribution"
ID=pacdistro
ID_LIKE=arch
PRETTY_NAME="pacman test distribution (Debian userland)"
E
"""


def make(out: Path) -> None:
    """Write the tarball."""
    with tempfile.TemporaryDirectory(prefix="sundog-pacman.") as directory:
        # If root makes the image, mmdebstrap's helpers may be other users.
        Path(directory).chmod(0o755)
        package = Path(directory, "package")
        shutil.copytree(HERE, package, copy_function=shutil.copyfile)
        bootstrap(
            out,
            variant="essential",
            include=INCLUDE,
            hooks=[HOOK],
            environment={"PACKAGE": str(package)},
        )
