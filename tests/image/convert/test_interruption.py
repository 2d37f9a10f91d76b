"""``ch-convert`` ends at any system call of a kind: its output is the old one or the new one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command
from tests.image.convert.formats import expected, in_directory, make_layout, without_own
from tests.image.convert.test_convert import Place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The calls that change what is on the disk, or wait for it.
KILLED_AT = ("write", "rename", "renameat2", "fsync", "syncfs")
ENDED_AT = ("rename", "fsync")
# One for each writer of outputs; the last one needs a storage directory of its own.
CONVERSIONS = [
    ("source", "./k.tar"),
    ("source", "./k.sqfs"),
    ("./source.tar", "./k.squash"),
    ("./source.tar", "./k"),
    ("source", "./k.oci.tar"),
    ("source", "oci:./k.layout"),
    ("./source.oci-dir", "./k.tar.gz"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("place"))
    make_layout(place.path).rename(place.path / "source.oci-dir")
    place.run("-q", "-i", "oci-dir", "./source.oci-dir", "source")
    place.run("-q", "source", "./source.tar")
    return place


class Output:
    """What a conversion writes over an older image."""

    def __init__(self, place: Place, target: str) -> None:
        self.place = place
        self.target = target
        self.path: Path = place.path / target.removeprefix("oci:")
        self.old = self.content()  # before there is one
        self.new = self.old

    def make_old(self) -> None:
        """Put the older image there, whatever is there."""
        if self.path.is_dir():
            remove(self.path)
        if self.target in ("./k", "oci:./k.layout"):
            for name in ("bin", "dev", "usr"):
                (self.path / name).mkdir(parents=True)
            (self.path / "oci-layout").touch()
        else:
            self.path.write_text("old")
        self.old = self.content()

    def content(self) -> object:
        """Return all that is there."""
        if self.target == "./k" and (self.path / "ch").exists():
            return without_own(in_directory(self.path))
        if self.path.is_dir():
            paths = sorted(self.path.rglob("*"))
            return {str(path): path.read_bytes() if path.is_file() else b"" for path in paths}
        return self.path.read_bytes() if self.path.exists() else None


def remove(path: Path) -> None:
    subprocess.run(["chmod", "-R", "u+rwx", path], check=True)
    shutil.rmtree(path)


def interrupted(
    place: Place, source: str, target: str, call: str, number: signal.Signals
) -> Iterator[subprocess.CompletedProcess[str]]:
    """Convert, with the signal at some of the calls ``call``, until a conversion succeeds.

    Each process counts its own calls.  strace(1) waits for all processes.
    """
    status, count = -1, 1
    while status:
        done = subprocess.run(
            [
                *("strace", "-f", "-qq", "--seccomp-bpf", "-o", place.path / "trace"),
                *("-e", f"inject={call}:signal={number.name}:when={count}"),
                *(*command("ch-convert"), "-q", source, target),
            ],
            cwd=place.path,
            env=os.environ | place.environment | {"SOURCE_DATE_EPOCH": "1500000000"},
            capture_output=True,
            text=True,
            check=False,
        )
        status = done.returncode
        yield done
        count *= 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "target", "number"),
    [(*words, signal.SIGKILL) for words in CONVERSIONS]
    + [(*words, signal.SIGINT) for words in (CONVERSIONS[1], CONVERSIONS[-1])],
)
def test_the_output_is_the_old_or_the_new_one(
    place: Place, source: str, target: str, number: signal.Signals
) -> None:
    output = Output(place, target)
    place.run("-q", source, target, SOURCE_DATE_EPOCH="1500000000")
    output.new = output.content()
    if target == "./k":
        assert output.new == without_own(expected())
    seen = []
    for call in KILLED_AT if number == signal.SIGKILL else ENDED_AT:
        output.make_old()
        for done in interrupted(place, source, target, call, number):
            content = output.content()
            assert content in (output.old, output.new), (call, done.stderr)
            if done.returncode:
                seen.append(content == output.new)
            else:
                assert content == output.new
            assert "Traceback" not in done.stderr
            if number == signal.SIGINT:
                assert done.returncode in (0, -number)
                assert place.left() == []
            if content == output.new:
                output.make_old()
    # The signals came both before and after the output got its name.
    assert set(seen) == {False, True}
    for path in place.path.glob("*.part*"):  # of killed processes
        remove(path) if path.is_dir() else path.unlink()
    place.run("-q", "./source.oci-dir", "./swept.sqfs")
    assert place.left() == []
