"""``ch-run --container``: the containers that ``sundog`` keeps."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Runner, command, run_program

if TYPE_CHECKING:
    from pathlib import Path

ID = "0a" * 32
WRITING = "echo mine >/new; chown 5:6 /new; rm -r /home; stat -c '%u:%g' /new; exit 3"


@pytest.fixture
def kept(storage: Path, bb: str) -> Path:
    """Return the directory of a container of the image ``bb`` that has not run."""
    place = storage / "containers" / ID
    place.mkdir(parents=True)
    (image,) = (storage / "images").glob(f"*{bb}+latest")
    shutil.copytree(image, place / "image", symlinks=True)
    for name in ("upper", "work"):
        (place / name).mkdir(mode=0o755)
    return place


@pytest.mark.parametrize("options", [[], ["--notify"], ["--notify", "--join-tag", "kept"]])
def test_changes_stay(
    options: list[str], kept: Path, bb: str, storage: Path, run_ch_run: Runner
) -> None:
    emulated = bool(options)
    script = WRITING if emulated else "echo mine >/new; rm -r /home; exit 3"
    words = ["--container", ID, *options, bb, "--", "sh", "-c", script]
    done = run_ch_run(*words, check=False)
    assert (done.returncode, done.stdout) == (3, "5:6\n" if emulated else "")
    assert (kept / "upper" / "new").read_text() == "mine\n"
    assert sorted(os.listdir(kept)) == (
        ["exit", "image", "owners", "upper", "work"] if emulated else ["image", "upper", "work"]
    )
    if emulated:  # a command that replaces ch-run leaves nobody who sees its end
        assert (kept / "exit").read_text() == "3\n"
        killed = ["--container", ID, *options, bb, "--", "sh", "-c", "kill -9 $$"]
        run_ch_run(*killed, check=False)
        assert (kept / "exit").read_text() == "137\n"
    done = run_ch_run("--container", ID, bb, "--", "sh", "-c", "cat /new; test ! -e /home")
    assert done.stdout == "mine\n"
    assert run_ch_run(bb, "--", "sh", "-c", "test ! -e /new; ls -d /home").stdout == "/home\n"


def test_what_does_not_fit(kept: Path, bb: str, storage: Path, run_ch_run: Runner) -> None:
    for words, message in (
        (["--container", "12"], "--container: not an ID: 12"),
        (["--container", "../" + ID], f"--container: not an ID: ../{ID}"),
        (["--container", "bb" * 32], f"--container: no such container: {'bb' * 32}"),
        (["-W", "--container", ID], "--write-fake incompatible with --container"),
        (["-w", "--container", ID], "--write invalid when running by name"),
    ):
        done = run_ch_run(*words, bb, "--", "true", check=False)
        assert done.returncode == 31
        assert f"error: {message}" in done.stderr
    storage.chmod(0o711)
    done = run_ch_run("--container", ID, bb, "--", "true", check=False)
    storage.chmod(0o700)
    assert done.returncode == 31
    assert "error: --container: not a storage of yours" in done.stderr


def test_an_image_that_is_gone(kept: Path, bb: str, storage: Path, run_ch_run: Runner) -> None:
    """The container has its own description of its image."""
    (image,) = (storage / "images").glob(f"*{bb}+latest")
    shutil.rmtree(image)
    done = run_ch_run("--container", ID, bb, "--", "echo", "on")
    assert done.stdout == "on\n"


def test_the_compiled_program_hands_over(
    kept: Path, bb: str, storage: Path, run_ch_run: Runner
) -> None:
    program = command("ch-run")[0]
    argv: list[str | Path] = [program, "--storage", storage, "--container", ID, bb, "--", "true"]
    done = run_program(argv, env={"SUNDOG_START": "compiled"}, check=False)
    assert done.returncode != 0
    assert run_program(argv).returncode == 0
