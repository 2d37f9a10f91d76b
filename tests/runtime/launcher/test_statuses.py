"""``$SUNDOG_STATUSES``: ch-run ends with podman's exit statuses; --user NAME."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.runtime.launcher.conftest import messages

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.launcher.conftest import ChRun

PODMAN = {"SUNDOG_STATUSES": "podman"}


@pytest.mark.parametrize(
    ("words", "own", "podmans"),
    [
        (["--", "true"], 0, 0),
        (["--", "sh", "-c", "exit 49"], 49, 49),
        (["--", "nosuch"], 49, 127),
        (["--", "/no/such"], 49, 127),
        (["--", "/etc"], 49, 126),
        (["-c", "/no/such", "--", "true"], 31, 125),
        (["--nosuch", "--", "true"], 64, 125),
        (["-u", "x", "--", "true"], 31, 125),
        (["--join", "--join-tag=statuses", "--", "nosuch"], 49, 127),
        (["--notify", "--", "nosuch"], 49, 127),
        (["--notify", "--", "sh", "-c", "exit 31"], 31, 31),
    ],
)
def test_statuses(ch_run: ChRun, image: Path, words: list[str], own: int, podmans: int) -> None:
    assert ch_run(image, *words).returncode == own
    for name in ("other", ""):
        assert ch_run(image, *words, env={"SUNDOG_STATUSES": name}).returncode == own
    assert ch_run(image, *words, env=PODMAN).returncode == podmans


def test_user(ch_run: ChRun, image: Path) -> None:
    (image / "etc/passwd").write_text("app:x:42:43::/home/app:/bin/sh\n")
    script = "echo $(busybox id -u) $(busybox id -g) $HOME"
    done = ch_run("--user=app", image, "--", "sh", "-c", script)
    assert done.stdout == b"42 43 /home/app\n"
    done = ch_run("--user", "app:7", image, "--", "sh", "-c", script)
    assert done.stdout == b"42 7 /home/app\n"
    done = ch_run("--user=nobody", image, "--", "true")
    assert done.returncode == 31
    assert messages(done)[0] == "error: no such user in the image: nobody"
    done = ch_run("--user=", image, "--", "true")
    assert messages(done)[0] == "error: --user: NAME must have non-zero length"
