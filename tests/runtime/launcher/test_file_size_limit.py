"""RLIMIT_FSIZE, which ``ulimit -f`` sets: a start needs to write a little, and says so."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import command
from tests.runtime.launcher.compiled import leave_accounts
from tests.runtime.launcher.conftest import ENVIRONMENT, make_image, messages
from tests.runtime.launcher.storages import make_storage

SAID = [
    "error: can't make the container: can't write a file: File too large",
    "hint: files may not grow so large here (ulimit -f); raise that: ulimit -f unlimited",
]
OPTIONS = {
    "plain": [],
    "no-passwd": ["--no-passwd"],
    "write": ["-W"],
    "notify": ["--notify"],
    "notify-write": ["--notify", "-W"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with an image, and a storage directory with the accounts of the user."""
    place = tmp_path_factory.mktemp("limited")
    make_image(place / "image")
    leave_accounts(make_storage(place / "storage"), os.geteuid(), os.getegid())
    return place


def start(place: Path, kind: str, *words: str, limit: int) -> list[str]:
    """Return the command line of a start, to which ``image`` is the image."""
    words = tuple(str(place / word) if word == "image" else word for word in words)
    return [
        *("env", f"CH_IMAGE_STORAGE={place}/storage", f"SUNDOG_START={kind}"),
        *("prlimit", f"--fsize={limit}", *command("ch-run"), *words),
    ]


@pytest.mark.parametrize("kind", ["either", "python"])
@pytest.mark.parametrize("limit", [0, 100])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_start_that_may_write_nothing(place: Path, options: str, kind: str, limit: int) -> None:
    words = [*OPTIONS[options], "image", "--", "true"]
    argv = start(place, kind, *words, limit=limit)
    done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, check=False)
    assert (done.returncode, messages(done)) == (31, SAID)


@pytest.mark.parametrize("kind", ["either", "python"])
@pytest.mark.parametrize("options", [[], ["--notify"]], ids=["plain", "notify"])
def test_a_start_that_joins(place: Path, options: list[str], kind: str) -> None:
    words = [*options, "--join", f"--join-tag=limited-{os.getpid()}", "image", "--"]
    with subprocess.Popen(
        start(place, kind, *words, "sh", "-c", "echo up; cat", limit=1 << 20),
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        assert first.stdout.readline() == b"up\n"
        argv = start(place, kind, *words, "true", limit=100)
        done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, check=False)
        first.stdin.close()
    assert (done.returncode, messages(done)) == (31, SAID)
    assert first.returncode == 0


@pytest.mark.parametrize("kind", ["either", "python"])
def test_the_command_gets_the_limit(place: Path, kind: str) -> None:
    """The signal kills it as on the host, unless the caller ignored the signal."""
    words = ["-W", "image", "--", "sh", "-c", "cat /bin/busybox >/big"]
    argv = start(place, kind, *words, limit=1 << 18)
    for ignored, status in (("", 128 + 25), ("trap '' XFSZ;", 1)):
        done = subprocess.run(
            ["sh", "-c", f'{ignored} "$@"', "sh", *argv],
            env=ENVIRONMENT,
            capture_output=True,
            check=False,
        )
        assert done.returncode in (status, -25), done
