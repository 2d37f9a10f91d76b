"""``ch-run`` as it is installed, and an image of one static program."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.launcher.installation import install

BUSYBOX = "/usr/bin/busybox"
APPLETS = "cat chmod chown env false id kill ln ls mkdir mount pwd readlink rm sh sleep stat "
APPLETS += "touch true umount unshare"

Completed = subprocess.CompletedProcess[bytes]
ChRun = Callable[..., Completed]

# What a user's shell hands on, and nothing else.
ENVIRONMENT = {
    "USER": "ada",
    "HOME": "/home/ada",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PWD": "/",
}


def make_image(path: Path) -> Path:
    """Make an image of static busybox with all mount points that are required."""
    for name in ("bin", "dev", "etc", "mnt", "proc", "sys", "tmp"):
        (path / name).mkdir(parents=True)
    for name in ("passwd", "group"):
        (path / "etc" / name).touch()
    shutil.copy(BUSYBOX, path / "bin" / "busybox")
    for applet in APPLETS.split():
        (path / "bin" / applet).symlink_to("busybox")
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_image(tmp_path / "image")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command as pip installed it beside this interpreter, or else as it would."""
    command = Path(sys.executable).with_name("ch-run")
    return command if command.exists() else install(tmp_path_factory.mktemp("prefix"), native=True)


@pytest.fixture
def ch_run(installed: Path, tmp_path: Path) -> ChRun:
    """Run the installed command with little environment; ``env`` is added to that."""

    def run(
        *arguments: str | bytes | Path,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        cwd: Path = tmp_path,
    ) -> Completed:
        storage = {"CH_IMAGE_STORAGE": str(tmp_path / "storage")}
        return subprocess.run(
            [installed, *arguments],
            env=ENVIRONMENT | storage | dict(env or {}),
            input=stdin,
            cwd=cwd,
            capture_output=True,
            timeout=60,
            check=False,
        )

    return run


def messages(done: Completed) -> list[str]:
    """Return the messages of ``ch-run`` without their prefix, which each must have."""
    lines = done.stderr.decode().splitlines()
    assert all(line.startswith("ch-run[") and "]: " in line for line in lines), lines
    return [line.split("]: ", 1)[1] for line in lines]
