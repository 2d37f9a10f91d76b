"""A layer of a few programs and many files, of which a test reads some."""

import random
import shutil
import tarfile
from io import BytesIO
from pathlib import Path

FILES = 48
SIZE = 300_000  # of each: more than comes with others
READ = [f"/f{number:02}" for number in range(1, 40, 3)]


def many_files(place: Path, busybox_tar: Path) -> Path:
    """Write the layer into the directory ``place``; return the tar."""
    tar = place / "layer.tar"
    shutil.copy(busybox_tar, tar)
    noise = random.Random(5)
    with tarfile.open(tar, "a") as out:
        for number in range(FILES):
            member = tarfile.TarInfo(f"f{number:02}")
            member.size = SIZE
            out.addfile(member, BytesIO(noise.randbytes(SIZE)))
    return tar
