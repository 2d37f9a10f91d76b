"""The disk of a virtual machine: Debian with its cloud kernel, an NFS server and an NFS client.

It is made once from this machine's own package sources, and kept. Only root can make it.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from scripts.bases import bootstrap
from scripts.place import WorkshopError, digest, find, own

HERE = Path(__file__).parent
NEEDS = ("e2fsprogs", "mmdebstrap", "qemu-system-x86")
PACKAGES = (
    "charliecloud-runtime", "iproute2", "kmod", "linux-image-cloud-amd64", "nfs-common",
    "nfs-kernel-server", "procps", "python3", "squashfs-tools",
)  # fmt: skip
SIZE = "3G"  # a file with holes
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
    """Return the image; make it unless it is there. Raises WorkshopError."""
    sources = [*HERE.glob("guest/*"), Path(bootstrap.__file__)]
    name = f"nfs-{digest(sources, *PACKAGES, SIZE, USER, HOOK)}"
    found = find("machines", name)
    if found is not None:
        return Image(found)
    started = time.monotonic()
    target = own("machines") / name
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".part.") as directory:
        part = Path(directory, name)
        part.mkdir()
        _make(Path(directory), Image(part))
        part.rename(target)
    for old in target.parent.glob("nfs-????????????"):
        if old != target:
            shutil.rmtree(old)
    print(f"  made {target} in {time.monotonic() - started:.0f} s", flush=True)
    return Image(target)


def _make(directory: Path, image: Image) -> None:
    tarball, tree = directory / "root.tar", directory / "root"
    bootstrap.bootstrap(
        tarball,
        variant="minbase",
        include=PACKAGES,
        hooks=[HOOK],
        environment={"GUEST": str(HERE / "guest"), "USER": USER},
    )
    tree.mkdir()
    _run("tar", "-C", str(tree), "-xpf", str(tarball), "--xattrs-include=*", "--numeric-owner")
    for name, target in (("vmlinuz", image.kernel), ("initrd.img", image.initrd)):
        (file,) = (tree / "boot").glob(f"{name}-*")
        shutil.copyfile(file, target)
        target.chmod(0o644)
    _run("truncate", f"--size={SIZE}", str(image.disk))
    _run("mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(image.disk))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorkshopError(f"{command[0]}: {done.stderr.strip()}")
