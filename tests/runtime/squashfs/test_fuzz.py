"""Damaged SquashFS files: each is read as far as it goes, or ends in one of Sundog's errors.

These are failures: another exception, more than 200 MB of memory, more than a few seconds.
``make fuzz`` runs this for minutes from a seed of the time; this test takes a few seconds, from a
fixed seed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import pytest
from scripts.place import CHECKOUT

from tests.runtime.squashfs.damage import BATCH
from tests.runtime.squashfs.made import PSEUDO, mksquashfs

if TYPE_CHECKING:
    from pathlib import Path

SEED = int(os.environ.get("SUNDOG_FUZZ_SEED", "20261126"))
SECONDS = int(os.environ.get("SUNDOG_FUZZ_SECONDS", "4"))


def make_small_files(place: Path, known: Path) -> None:
    """Make SquashFS files that have something of everything; most are not compressed."""
    tree = place / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "file").write_bytes(b"file" * 5000)
    (tree / "a" / "tail").write_text("tail")
    (tree / "link").symlink_to("a/file")
    with open(tree / "sparse", "wb") as file:
        file.truncate(100_000)
    for number in range(8):
        os.setxattr(tree / "a" / "file", f"user.name{number}", b"v" * 300)
        os.setxattr(tree / "a" / "tail", f"user.name{number}", b"v" * 300)
    for number in range(1500):
        (tree / "a" / "b" / f"{number}{'n' * 20}").touch()
    (place / "pseudo").write_text(PSEUDO)
    ways: list[tuple[str, ...]] = [("-no-compression",), ("-no-compression", "-no-fragments")]
    ways += [("-comp", each) for each in ("gzip", "zstd", "xz", "lzma", "lz4", "lzo")]
    for number, way in enumerate([*ways[:2] * 3, *ways[2:]]):
        path = known / f"{number:02}.sqfs"
        mksquashfs(tree, path, "-b", "4096", "-nopad", "-pf", str(place / "pseudo"), *way)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
def test_damaged_files(tmp_path: Path) -> None:
    place = tmp_path / "place"
    (place / "known").mkdir(parents=True)
    make_small_files(tmp_path, place / "known")
    deadline = time.monotonic() + SECONDS
    number = 0
    while time.monotonic() < deadline:
        seed = f"{SEED} {number}"
        number += 1
        program = [sys.executable, "-m", "tests.runtime.squashfs.damage", seed, str(place)]
        done = subprocess.run(program, cwd=CHECKOUT, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            saved = tempfile.mkdtemp(prefix=f"sundog-fuzz-{SEED}-")
            shutil.copy(place / "input", saved)
            text = done.stderr.decode(errors="replace") or f"signal {-done.returncode}"
            pytest.fail(f"seed {seed}, input saved as {saved}/input:\n{text}")
    assert number
    print(f"{number * BATCH} inputs from seed {SEED}")
