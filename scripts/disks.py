"""Disks whose power can be cut, for the root helper: file systems on loop devices over XFS.

The disk is a file. ioctl_ficlonerange(2) clones it at any moment, atomically towards the file
system that writes to it. The mounted clone shows the file system as after a power cut: it lacks
what was not yet written to the disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

FICLONE = 0x40049409
# File system → size of the disk in MiB, maker, mount options. No file system writes by itself
# before the test ends, so that the clone lacks what no sync asked for.
KINDS = {
    "ext4": (256, ("mkfs.ext4", "-q", "-F"), "commit=300"),
    "xfs": (320, ("mkfs.xfs", "-q"), "nouuid"),
    "btrfs": (256, ("mkfs.btrfs", "-q"), "commit=300"),
}
OUTER_MEBIBYTES = 4096  # a file with holes


def lacking(kind: str) -> str:
    """Return what the kernel lacks for a disk of this kind, "" if nothing."""
    if not Path("/dev/loop-control").exists():
        return "no loop devices"
    for needed in ("xfs", kind):
        if shutil.which("modprobe"):  # a machine without modules has no modprobe
            subprocess.run(["modprobe", "--quiet", needed], check=False)
        if f"\t{needed}\n" not in Path("/proc/filesystems").read_text():
            return f"no {needed}"
    return ""


@dataclass
class Disk:
    """A mounted file system on a disk, and the mounted clones of the disk."""

    directory: Path  # the number of mount points so far
    kind: str
    path: Path
    clones: dict[Path, Path] = field(default_factory=dict)  # mount point → file

    @classmethod
    def make(cls, kind: str, owner: tuple[int, int], mounts: Path) -> Disk:
        """Make a disk with a file system that belongs to ``owner``, and mount it."""
        size, maker, _ = KINDS[kind]
        directory = Path(tempfile.mkdtemp(dir=mounts))
        directory.chmod(0o711)
        disk = cls(directory, kind, directory / "disk")
        try:
            with tempfile.NamedTemporaryFile(dir="/var/tmp", prefix="sundog-disk.") as outer:
                outer.truncate(OUTER_MEBIBYTES << 20)
                _run("mkfs.xfs", "-q", "-m", "reflink=1", outer.name)
                disk._outer.mkdir(0o700)
                # The loop device keeps the nameless file.
                _run("mount", "-o", "loop", outer.name, str(disk._outer))
            with open(disk._file, "xb") as file:
                file.truncate(size << 20)
            _run(*maker, str(disk._file))
            disk._mount(disk._file, disk.path)
            os.chown(disk.path, *owner)
            disk.path.chmod(0o700)
            _run("sync", "--file-system", str(disk.path))
        except BaseException:
            disk.remove()
            raise
        return disk

    def clone(self) -> Path:
        """Clone the disk as it is now; return the clone's future mount point."""
        place = self.directory / f"clone{len(list(self._outer.glob('clone*')))}"
        while place in self.clones:
            place = place.with_name(place.name + "x")
        file = self._outer / place.name
        with open(self._file, "rb") as source, open(file, "xb") as target:
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
        self.clones[place] = file
        return place

    def mount_clone(self, place: Path) -> None:
        """Mount a clone; the file system recovers as after a power cut."""
        self._mount(self.clones[place], place)

    def remove_clone(self, place: Path) -> None:
        """Unmount and delete a clone."""
        if place.is_mount():
            _run("umount", str(place))
            place.rmdir()
        self.clones.pop(place).unlink()

    def remove(self) -> None:
        """Unmount and delete everything."""
        for place in (*self.clones, self.path, self._outer):
            if place.is_mount():
                with contextlib.suppress(subprocess.SubprocessError):
                    _run("umount", "--lazy", str(place))
            with contextlib.suppress(OSError):
                place.rmdir()
        with contextlib.suppress(OSError):
            self.directory.rmdir()

    @property
    def _outer(self) -> Path:
        return self.directory / "outer"

    @property
    def _file(self) -> Path:
        return self._outer / "disk"

    def _mount(self, file: Path, place: Path) -> None:
        place.mkdir()
        options = f"loop,nosuid,nodev,{KINDS[self.kind][2]}"
        _run("mount", "-t", self.kind, "-o", options, str(file), str(place))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise ValueError(f"{' '.join(command)}: {done.stderr.strip()}")
