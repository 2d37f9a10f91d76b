"""A reader that goes away, as in ``ch-image list | head -1``: no stack trace, and the command ends.

The tests close the pipe before the command starts, and after a number of bytes.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner

# The numbers of bytes that are read; `make interruptions` tries more.
TRIES = int(os.environ.get("SUNDOG_TRIES", "2"))
LINES = (
    *("ch-image", "ch-image -h", "ch-image --version", "ch-image build -h", "ch-image help"),
    *("ch-image --nonsense", "ch-image nonsense", "ch-image list", "ch-image ls -l"),
    *("ch-image inspect bb", "ch-image save bb", "ch-image history bb --format=json"),
    *("ch-image build-cache", "ch-image gestalt storage-path", "ch-image build -t x nowhere"),
    *("ch-image __complete images", "ch-image __complete"),
    *("ch-convert", "ch-convert -h", "ch-convert --version", "ch-convert --nonsense"),
    *("ch-convert bb -", "ch-convert -o tar bb -"),
    *("ch-checkns", "ch-checkns -h", "ch-checkns --nonsense", "ch-checkns --json"),
    *(
        "ch-test -h",
        "ch-test --nonsense",
        "ch-fromhost",
        "ch-fromhost -h",
        "ch-fromhost --nonsense",
    ),
    *("ch-run", "ch-run -h", "ch-run --version", "ch-run --nonsense", "ch-run --usage"),
    *("ch-run nowhere -- true", "ch-run --warnings=3"),
)


@pytest.fixture
def stored(run_ch_image: Runner, bb: str, storage: Path) -> Path:
    return storage


def said_to_other_stream(line: str, stream: str, size: int, storage: Path, cwd: Path) -> bytes:
    """Run a command, read ``size`` bytes of a stream, close it; return the other stream's text."""
    name, *words = line.split()
    reader, writer = os.pipe()
    if not size:
        os.close(reader)
    outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | {stream: writer}
    with subprocess.Popen(
        [*command(name), *words],
        env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=outputs["stdout"],
        stderr=outputs["stderr"],
    ) as running:
        os.close(writer)
        if size:
            os.read(reader, size)
            os.close(reader)
        out, error = running.communicate(timeout=60)
    return (out or b"") + (error or b"")


@pytest.mark.parametrize("name", ["ch-convert", "ch-checkns", "ch-fromhost", "ch-test"])
def test_help_for_a_full_disk(name: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*command(name), "-h"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "error: can't write: No space left on device\n")


@pytest.mark.timeout(1800)  # 200 sizes of each stream
@pytest.mark.parametrize("line", LINES)
def test_no_stack_trace(line: str, stored: Path, tmp_path: Path) -> None:
    for stream in ("stdout", "stderr"):
        for size in range(TRIES):
            said = said_to_other_stream(line, stream, size, stored, tmp_path)
            assert b"Traceback" not in said, (stream, size)
            assert b"Exception" not in said, (stream, size)
