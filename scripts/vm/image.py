"""The start of a virtual machine; here, the disk of the machines that have NFS.

That disk has Debian with its cloud kernel, an NFS server and an NFS client. It is made once from
this machine's own package sources, and kept. Only root can make it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bases import bootstrap
from scripts.packages import TOOLS
from scripts.place import WorkshopError, digest, find, own
from scripts.vm.hardware import X86_64

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.vm.hardware import Hardware

HERE = Path(__file__).parent
NEEDS = ("e2fsprogs", "mmdebstrap", X86_64.package)
PACKAGES = (
    "charliecloud-runtime", "iproute2", "kmod", X86_64.kernel, "nfs-common",
    "nfs-kernel-server", "procps", "python3", "squashfs-tools",
)  # fmt: skip
SIZE = "3G"
USER = "sundog"
HOOK = """\
install -m 755 "$GUEST/init" "$1/usr/local/sbin/vm-init"
install -m 644 "$GUEST/agent.py" "$1/usr/local/lib/agent.py"
chroot "$1" useradd --create-home --uid 1000 --user-group --shell /bin/bash $USER
rm -f "$1/etc/resolv.conf"
"""


@dataclass(frozen=True)
class Image:
    """A directory with the files from which a virtual machine starts."""

    directory: Path
    hardware: Hardware = X86_64

    @property
    def kernel(self) -> Path:
        """Return the kernel."""
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """Return the initial RAM disk, which has the modules for the disk."""
        return self.directory / "initrd"

    @property
    def disk(self) -> Path:
        """Return the disk, an ext4 without partitions."""
        return self.directory / "disk"


def make() -> Image:
    """Return the image for NFS; make it unless it is there. Raises WorkshopError."""
    sources = [*HERE.glob("guest/*"), Path(bootstrap.__file__)]
    return Image(kept("nfs", digest(sources, *PACKAGES, SIZE, USER, HOOK), _make))


def kept(kind: str, version: str, fill: Callable[[Path, Image], None]) -> Path:
    """Return the directory of an image; make it unless it is there, and remove older versions.

    ``fill`` gets a temporary directory, and the image whose files it makes.
    """
    name = f"{kind}-{version}"
    found = find("machines", name)
    if found is not None:
        return found
    started = time.monotonic()
    target = own("machines") / name
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".part.") as directory:
        part = Path(directory, name)
        part.mkdir()
        fill(Path(directory), Image(part))
        part.rename(target)
    for old in target.parent.glob(f"{kind}-????????????"):
        if old != target:
            shutil.rmtree(old)
    print(f"  made {target} in {time.monotonic() - started:.0f} s", flush=True)
    return target


def make_disk(image: Image, tree: Path, size: str) -> None:
    """Make a disk, a file with holes, of the files in a tree."""
    run("truncate", f"--size={size}", str(image.disk))
    run("mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(image.disk))


def _make(directory: Path, image: Image) -> None:
    tarball, tree = directory / "root.tar", directory / "root"
    bootstrap.bootstrap(
        tarball,
        variant="minbase",
        include=PACKAGES,
        hooks=[HOOK],
        environment={"GUEST": str(HERE / "guest"), "USER": USER},
    )
    unpack(tarball, tree)
    for name, target in (("vmlinuz", image.kernel), ("initrd.img", image.initrd)):
        (file,) = (tree / "boot").glob(f"{name}-*")
        shutil.copyfile(file, target)
        target.chmod(0o644)
    make_disk(image, tree, SIZE)


def unpack(tarball: Path, tree: Path) -> None:
    """Unpack a tarball into a new directory, as root."""
    tree.mkdir()
    run("tar", "-C", str(tree), "-xpf", str(tarball), "--xattrs-include=*", "--numeric-owner")


def run(*command: str, text: str = "", cwd: Path = Path("/")) -> None:
    """Run a command, which gets a text. Raises WorkshopError if it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | TOOLS, input=text, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise WorkshopError(f"{command[0]}: {done.stderr.strip()}")
