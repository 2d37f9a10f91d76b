"""Users' mistakes: each gets one clear line that names the object, and mostly a hint."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Completed, Runner

LINE = "FROM scratch\n"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Return a directory with every kind of file that a user may give by mistake."""
    here = tmp_path / "here"
    (here / "directory").mkdir(parents=True)
    (here / "closed").mkdir(mode=0)
    (here / "unreadable").touch(mode=0)
    (here / "text").write_text("no archive\n")
    (here / "empty").touch()
    (here / "Dockerfile").write_text(LINE)
    (here / "loop").symlink_to("loop")
    return here


@pytest.mark.parametrize(
    ("line", "told"),
    [
        # Dockerfiles
        ("build -t x -f nofile .", (1, "can't read nofile: No such file", "there is no /")),
        ("build -t x -f directory .", (1, "can't read directory: Is a dir", "name the Docker")),
        ("build -t x -f unreadable .", (1, "can't read unreadable: Perm", "is yours and has mode")),
        ("build -t x closed", (1, "can't read closed/Dockerfile: Perm", "is yours and has mode")),
        ("build -t x -f loop .", (1, "can't read loop: Too many levels of symbolic links", "")),
        ("build -t x -f empty .", (1, "empty:1: no instructions found", "a Dockerfile begins")),
        ("build -t x text", (2, "context must be a directory: text", '"-"')),
        # command lines
        ("build --no-cahce -t x .", (2, "unrecognized arguments: --no-cah", "ch-image build --h")),
        ("reset all", (2, "unrecognized arguments: all", "ch-image reset --help")),
        ("-s= list", (2, "--storage: DIR is empty", "ch-image --help")),
        # names
        ("build -t Upper .", (1, "not an image reference: 'Upper'", "in lower case")),
        (f"tag x y:{'t' * 129}", (1, "not an image reference: 'y:ttt", "[:TAG]")),
        ("tag nothing y", (1, "not in storage: nothing", "ch-image pull nothing")),
        ("history nothing", (1, "not in storage: nothing", "ch-image pull nothing")),
        (
            "tag directory y",
            (1, "not in storage: directory", "./directory is here: ch-image im"),
        ),
        ("save directory", (1, "not in storage: directory", "ch-image import ./directory direc")),
        ("inspect nothing", (1, "no matching image: nothing", "ch-image list")),
        # archives and directories
        ("import nothing x", (1, "can't import: not found: nothing", "there is no /")),
        ("import no/thing x", (1, "can't import: not found: no/thing", "there is no /")),
        ("import closed x", (1, "can't import: closed: Permission", "is yours and has mode")),
        (
            "import text x",
            (1, "can't import text: at the beginning: this is not a tar", "ch-image load reads"),
        ),
        ("import loop x", (1, "can't import: loop: Too many levels of symbolic links", "")),
        ("load nothing", (1, "can't load nothing: no such file", "there is no /")),
        ("load text", (1, "can't load text: at the beginning: ", "give a complete OCI layout")),
        ("load directory", (1, "can't load directory: neither an OCI layout", "ch-image import")),
        ("modify x y script", (1, "can't read script script: No such", "there is no /")),
    ],
)
def test_one_line(run_ch_image: Runner, here: Path, line: str, told: tuple[int, str, str]) -> None:
    status, error, hint = told
    done = run_ch_image(*line.split(), cwd=here, check=False)
    assert (done.returncode, done.stdout) == (status, "")
    lines = [text for text in done.stderr.splitlines() if not text.startswith(PROGRESS)]
    assert lines[0].startswith(f"error: {error}"), done.stderr
    assert len(lines) == (2 if hint else 1)
    assert not hint or (lines[1].startswith("hint: ") and hint in lines[1])


PROGRESS = ("importing:  ", "destination:  ", "loading image:  ")


def test_relative_storage_in_the_environment(run_ch_image: Runner) -> None:
    for line in (["list"], ["gestalt", "storage-path"]):
        done = run_ch_image(*line, env={"CH_IMAGE_STORAGE": "here"}, check=False)
        assert done.returncode == 1
        assert done.stderr == (
            "error: $CH_IMAGE_STORAGE: not absolute path: here\n"
            "hint: --storage takes a relative one\n"
        )


def _in_shell(storage: Path, script: str, cwd: Path) -> Completed:
    """Run a line of shell in which $ch_image stands for the command."""
    return subprocess.run(
        ["sh", "-c", script.replace("$ch_image", '"$@"'), "sh", *command("ch-image")],
        env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("$ch_image list >&-", (0, "")),
        ("$ch_image list <&- >&- 2>&-", (0, "")),
        ("$ch_image build -t y . <&- >&- 2>&-", (0, "")),
        ("$ch_image build -t y - <&-", (1, "error: standard input:1: no instructions found")),
        ("$ch_image nonsense 2>&-", (2, "")),
        ("$ch_image -h >/dev/full", (1, "error: can't write: No space left on device")),
        ("$ch_image list >/dev/full", (1, "error: /dev/stdout: no space left on")),
        ("$ch_image inspect x >/dev/full", (1, "error: /dev/stdout: no space left")),
        ("$ch_image -q save x >/dev/full", (1, "error: /dev/stdout: no space left on")),
    ],
)
def test_standard_streams(
    run_ch_image: Runner, storage: Path, here: Path, line: str, told: tuple[int, str]
) -> None:
    status, error = told
    run_ch_image("build", "-t", "x", here)
    done = _in_shell(storage, line, here)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(error)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_a_closed_stream_takes_no_file_of_ours(
    run_ch_image: Runner, storage: Path, here: Path, bb: str
) -> None:
    """With standard output closed, the output of RUN reaches no layer and no lock."""
    (here / "Dockerfile").write_text("FROM bb\nRUN echo printed\n")
    assert _in_shell(storage, "$ch_image build -t y . >&-", here).returncode == 0
    found = subprocess.run(
        ["grep", "-rl", "--exclude-dir=cache", "printed", storage], capture_output=True, check=False
    )
    assert b"/tree/" not in found.stdout
