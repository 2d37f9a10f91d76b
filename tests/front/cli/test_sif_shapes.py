"""SIFs of the shapes that Apptainer's own tests have: each runs, or is refused with its reason."""

from __future__ import annotations

import os
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command, run_program
from tests.image.convert.formats import partition, sif_of
from tests.runtime.fuse.conftest import make_squashfs

if TYPE_CHECKING:
    from pathlib import Path

DEFINITION = (0x4001, 1, b"bootstrap: docker\n", b"")
JSON = (0x4006, 1, b"{}", b"")
SIGNATURE = (0x4005, 1, b"signature", struct.pack("<i", 1))
Shape = tuple[int, int, bytes, bytes] | None  # an object, or a free descriptor
NO_SYSTEM = "no system partition in this SIF"
# What is refused: its objects, and the reason.  $ stands for the SquashFS.
REFUSED: dict[str, tuple[list[Shape], str]] = {
    "empty": ([], NO_SYSTEM),
    "only JSON": ([JSON], NO_SYSTEM),
    "a message": ([(0x4008, 1, b"message", b"")], NO_SYSTEM),
    "an OCI blob": ([(0x400A, 1, b"{}", b""), (0x400B, 1, b"blob", b"")], NO_SYSTEM),
    "another kind of partition": ([partition(b"$", kind=1)], NO_SYSTEM),
    "encrypted": ([partition(b"x" * 4096, system=5)], "its system partition is encrypted"),
    "ext3": ([partition(b"x" * 4096, system=2)], "its system partition is ext3"),
    "raw data": ([partition(b"x" * 4096, system=4)], "its system partition is raw data"),
    "no SquashFS": ([partition(b"\xde\xad\xbe\xef")], "its system partition"),
    "deleted": ([None, DEFINITION], NO_SYSTEM),
}
RUN: dict[str, list[Shape]] = {
    "one group": [DEFINITION, JSON, partition(b"$")],
    "signed": [DEFINITION, partition(b"$"), SIGNATURE, (0x4005, 2, b"both", SIGNATURE[3])],
    "two partitions": [partition(b"raw", system=4, kind=3), partition(b"$"), SIGNATURE],
    "two groups": [partition(b"$"), (0x4004, 2, b"ext3", struct.pack("<ii3s", 2, 3, b"02"))],
    "holes": [None, DEFINITION, None, None, partition(b"$"), None],
    "another launch script": [partition(b"$")],
    "unaligned": [(0x4001, 1, b"odd", b""), partition(b"$")],
    "another architecture's number": [partition(b"$", machine=b"04")],
}


@pytest.fixture(scope="module")
def squash(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> bytes:
    path = tmp_path_factory.mktemp("shapes")
    (path / "tree").mkdir()
    subprocess.run(["tar", "-xf", busybox_tar, "-C", path / "tree"], check=True)
    return make_squashfs(path / "tree", path / "squash").read_bytes()


def sif(name: str, objects: list[Shape], squash: bytes) -> bytes:
    filled = [each and (*each[:2], each[2].replace(b"$", squash), each[3]) for each in objects]
    is_other = name.startswith("another architecture")
    made = sif_of(
        *filled, machine=b"04" if is_other else b"02", align=1 if name == "unaligned" else 4096
    )
    if name == "another launch script":
        made = made.replace(b"run-singularity\n", b"run-anything\n\0\0\0", 1)
    return made


def run(path: Path, *words: str) -> tuple[int, str, str]:
    argv = [*command("sundog"), "apptainer", *words, str(path)]
    end = ["sh", "-c", "echo ran"] if words[0] == "exec" else []
    done = run_program([*argv, *end], check=False, env={"TMPDIR": ""}, cwd=path.parent)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", RUN)
def test_a_shape_that_runs(name: str, tmp_path: Path, squash: bytes) -> None:
    path = tmp_path / "x.sif"
    path.write_bytes(sif(name, RUN[name], squash))
    status, out, err = run(path, "exec")
    assert (status, out) == (0, "ran\n"), err
    status, out, err = run(path, "sif", "list")
    assert status == 0
    rows = [row for row in out.splitlines() if row[:1].isdigit()]
    assert len(rows) == len([each for each in RUN[name] if each is not None])
    assert run(path, "inspect", "--all")[0] == 0


@pytest.mark.parametrize("name", REFUSED)
def test_a_shape_that_is_refused(name: str, tmp_path: Path, squash: bytes) -> None:
    """The reason is one line, with a hint; the list of objects is shown."""
    objects, reason = REFUSED[name]
    path = tmp_path / "x.sif"
    path.write_bytes(sif(name, objects, squash))
    for words in (["exec"], ["inspect"]):
        status, _, err = run(path, *words)
        assert status == 255
        first, *rest = err.splitlines()
        assert first.startswith("FATAL:   ")
        assert reason in first
        assert [text.partition("hint:")[1] for text in rest] == ["hint:"]
    assert run(path, "sif", "list")[0] == 0
    assert os.listdir(tmp_path) == ["x.sif"]
