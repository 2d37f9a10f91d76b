"""Inputs of a given size for ``bench.growth``: files, tars, Dockerfiles, and images in storage."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.measure import Bench

IN_A_DIRECTORY = 1000  # files
_BLOCK = 1 << 20  # bytes
_MARK = 64  # bytes at the beginning of each block, so that no two blocks are equal

# Runs as the benchmark's user: gives the image ``base`` names until there are so many.
_NAMES = """
import sys
from dataclasses import replace
from sundog.base.record.names import canonical_name
from sundog.image.store.store import Store
count = int(sys.argv[1])
with Store.open() as store:
    base = store.images.get("base")
    names = [f"other{number}" for number in range(store.images.count(), count)]
    for start in range(0, len(names), 500):
        store.images.put(*(
            replace(base, reference=canonical_name(name), typed=name)
            for name in names[start : start + 500]
        ))
"""


def add_names(bench: Bench, storage: dict[str, str], count: int) -> None:
    """Fill a storage directory up to ``count`` images, which share their layers."""
    bench.run([str(bench.programs / "python"), "-I", "-c", _NAMES, str(count)], storage)


def context(bench: Bench, name: str, instructions: Sequence[str]) -> Path:
    """Make a context with a Dockerfile on ``base``; return it."""
    directory = bench.directory(name)
    (directory / "Dockerfile").write_text("\n".join(("FROM base", *instructions, "")))
    return directory


def fill(directory: Path, count: int, size: int = 0) -> None:
    """Make ``count`` files of ``size`` random bytes, by default of a few; all may read them."""
    for start in range(0, count, IN_A_DIRECTORY):
        inner = directory / f"{start // IN_A_DIRECTORY}"
        inner.mkdir()
        for number in range(start, min(count, start + IN_A_DIRECTORY)):
            data = os.urandom(size) if size else b"%d\n" % number
            (inner / f"{number}").write_bytes(data)


def fill_large(path: Path, size: int) -> None:
    """Make a file of ``size`` bytes without holes, of which no block is like another."""
    block = os.urandom(_BLOCK)
    with path.open("wb") as file:
        for _ in range(max(1, size // _BLOCK)):
            file.write(os.urandom(_MARK) + block[_MARK:])


def tar_of_entries(path: Path, count: int) -> None:
    """Write a tar of ``count`` empty files."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for entry in _empty(count):
            archive.addfile(entry)


def tar_of_links(path: Path, count: int) -> None:
    """Write a tar of files, each with 1,000 names in all, ``count`` names altogether."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        first = ""
        for number, entry in enumerate(_empty(count)):
            if number % IN_A_DIRECTORY == 0:
                first, entry.size = entry.name, 4
                archive.addfile(entry, io.BytesIO(b"file"))
                continue
            entry.type, entry.linkname = tarfile.LNKTYPE, first
            archive.addfile(entry)


def tar_of_file(path: Path, file: Path) -> None:
    """Write a tar of one file."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(file, "large")


def _empty(count: int) -> Iterator[tarfile.TarInfo]:
    for number in range(count):
        yield tarfile.TarInfo(f"entries/{number // IN_A_DIRECTORY}/{number}")


def forget(*paths: Path) -> None:
    """Delete files and directories: the next size needs the space."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
