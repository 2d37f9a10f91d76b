"""``ch-image modify``: commands, scripts, and their layers and history."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Completed, Runner

HISTORY = ("history", "--format=json")


@pytest.fixture
def modify(run_ch_image: Runner, bb: str) -> Runner:
    """Return a function that runs ``ch-image modify``; ``bb`` is in storage."""

    def modify(*arguments: Any, **more: Any) -> Completed:
        return run_ch_image("modify", *arguments, **more)

    return modify


def commands(run_ch_image: Runner, image: str) -> list[str]:
    entries = json.loads(run_ch_image(*HISTORY, image).stdout)
    return [entry["created_by"] for entry in entries][1:]


def test_commands(run_ch_image: Runner, run_ch_run: Runner, modify: Runner) -> None:
    done = modify("-c", "echo 1 >/1", "-c", "echo 2 >>/1; echo $0", "bb", "new")
    assert done.stdout == "/bin/sh\n"
    assert done.stderr.splitlines() == [
        "  1* FROM bb",
        "  2. RUN.S echo 1 >/1",
        "  3. RUN.S echo 2 >>/1; echo $0",
        "grown in 3 instructions: new",
    ]
    assert run_ch_run("new", "--", "/bin/cat", "/1").stdout == "1\n2\n"
    assert commands(run_ch_image, "new") == ["RUN.S echo 1 >/1", "RUN.S echo 2 >>/1; echo $0"]
    assert run_ch_run("bb", "--", "/bin/cat", "/1", check=False).returncode == 1
    (described,) = json.loads(run_ch_image("inspect", "new").stdout)
    assert described["origin"] == "ch-image modify"


def test_epoch_is_when_the_image_was_made(modify: Runner, run_ch_image: Runner) -> None:
    modify("-c", "echo 1 >/1", "bb", "new", env={"SOURCE_DATE_EPOCH": "60"})
    entries = json.loads(run_ch_image(*HISTORY, "new").stdout)
    assert [entry["created"] for entry in entries[1:]] == ["1970-01-01T00:01:00Z"]
    (described,) = json.loads(run_ch_image("inspect", "new").stdout)
    assert described["config"]["created"] == "1970-01-01T00:01:00Z"


def test_commands_come_from_the_cache(modify: Runner, run_ch_image: Runner, tmp_path: Path) -> None:
    modify("-c", "echo 1 >/1", "bb", "new")
    assert "  2* RUN.S echo 1 >/1" in modify("-c", "echo 1 >/1", "bb", "new").stderr
    assert "  2. RUN.S" in modify("--rebuild", "-c", "echo 1 >/1", "bb", "new").stderr
    (tmp_path / "Dockerfile").write_text("FROM bb\nRUN echo 1 >/1\n")
    assert "  2* RUN.S" in run_ch_image("build", "-t", "x", tmp_path).stderr


def test_in_place(run_ch_image: Runner, run_ch_run: Runner, modify: Runner) -> None:
    for number in ("1", "2"):
        modify("-c", f"echo {number} >>/1", "bb")
    assert run_ch_run("bb", "--", "/bin/cat", "/1").stdout == "1\n2\n"
    assert run_ch_image("list").stdout == "bb\n"


def test_failure_changes_nothing(run_ch_image: Runner, run_ch_run: Runner, modify: Runner) -> None:
    modify("-c", "echo good >/1", "bb")
    done = modify("-c", "echo bad >/1", "-c", "exit 3", "bb", check=False)
    assert done.returncode == 1
    assert "exited with 3" in done.stderr
    assert run_ch_run("bb", "--", "/bin/cat", "/1").stdout == "good\n"


def test_script(run_ch_image: Runner, run_ch_run: Runner, modify: Runner, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("set -e\nfor i in 1 2 3; do\n  echo $i >>/count\ndone\n")
    modify("bb", "new", script)
    assert run_ch_run("new", "--", "/bin/cat", "/count").stdout == "1\n2\n3\n"
    assert commands(run_ch_image, "new") == [f"RUN.S {script.read_text()}"]
    # The image does not hold the script itself.
    (layer,) = json.loads(run_ch_image("inspect", "new").stdout)[0]["layers"][1:]
    assert layer["size"] == len("1\n2\n3\n")


def test_script_on_standard_input(
    run_ch_run: Runner, modify: Runner, storage: Path, tmp_path: Path
) -> None:
    def run(text: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*command("ch-image"), "modify", "bb", "new"],
            env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
            input=text,
            capture_output=True,
            check=False,
        )

    assert run(b"printf 'caf\xe9' >/name\n").returncode == 0
    assert b"  2* RUN.S" in run(b"printf 'caf\xe9' >/name\n").stderr
    shown = run_ch_run("new", "--", "/bin/cat", "/name")
    assert os.fsencode(shown.stdout) == b"caf\xe9"
    assert run(b" \n").returncode == 2


def test_shell(run_ch_image: Runner, modify: Runner) -> None:
    done = modify("-S", "/bin/ash", "-c", "echo $0", "bb", "new")
    assert done.stdout == "/bin/ash\n"
    assert commands(run_ch_image, "new") == ['RUN.S ["/bin/ash", "-c", "echo $0"]']


def test_shell_and_configuration_of_the_image(
    run_ch_image: Runner, modify: Runner, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(
        'FROM bb\nSHELL ["/bin/sh", "-e", "-c"]\nENV A=b\nCMD ["x"]\nONBUILD RUN exit 1\n'
    )
    run_ch_image("build", "-t", "base", tmp_path)
    done = modify("-c", "echo $A $-", "base", "new")
    assert done.stdout == "b ce\n"  # e comes from the SHELL, c from -c
    base, new = (
        image["config"]["config"]
        for image in json.loads(run_ch_image("inspect", "base", "new").stdout)
    )
    assert new == base


def test_bind_and_modes(modify: Runner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the host\n")
    done = modify("-b", f"{tmp_path}:/mnt", "-c", "cat /mnt/file", "bb", "new")
    assert done.stdout == "of the host\n"
    done = modify("--force=none", "-c", "chown 1:1 /bin/busybox", "bb", "x", check=False)
    assert done.returncode == 1
    assert "  2. RUN.N chown" in done.stderr
    done = modify("--force=notify", "-c", "chown 1:2 /etc; stat -c %u:%g /etc", "bb", "x")
    assert done.stdout == "1:2\n"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("-c", "x", "bb", "new", "script"), 2, "script mode incompatible with command mode"),
        (("bb", "new"), 2, "modify mode unclear"),
        (("-c", "x", "nowhere"), 1, "not in storage: nowhere"),
        (("-c", "x", "bb", "Bad"), 1, "not an image reference: 'Bad'"),
        (("bb", "new", "/nowhere"), 1, "can't read script /nowhere: No such file"),
        (("--force=bogus", "-c", "x", "bb"), 2, "no such mode"),
    ],
)
def test_what_cannot_be(
    run_ch_image: Runner, modify: Runner, arguments: tuple[str, ...], status: int, message: str
) -> None:
    done = modify(*arguments, check=False)
    assert done.returncode == status
    assert message in done.stderr
    assert run_ch_image("list").stdout == "bb\n"


def test_script_that_is_too_long(modify: Runner, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#" * (1 << 17))
    done = modify("bb", "new", script, check=False)
    assert done.returncode == 2
    assert "error: can't run a command with 131072 bytes\nhint: at most 131071" in done.stderr
