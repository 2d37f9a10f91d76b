"""The installed ``ch-run``, and an image of one static program."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sundog.base.record.location import account_name
from tests.runtime.launcher.compiled import (
    LISTED,
    Compiled,
    python_start,
    read_line,
    remembered_accounts,
)
from tests.runtime.launcher.installation import install

BUSYBOX = "/usr/bin/busybox"
APPLETS = "cat chmod chown env false id kill ln ls mkdir mount pwd readlink rm sh sleep stat "
APPLETS += "touch true umount unshare"

Completed = subprocess.CompletedProcess[bytes]
ChRun = Callable[..., Completed]

# Only the variables that a user's shell sets.
ENVIRONMENT = {
    "USER": account_name(os.geteuid()).decode(),
    "HOME": "/home/ada",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PWD": "/",
}


def make_image(path: Path) -> Path:
    """Make an image of static busybox with all required mount points."""
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
    """The command that pip installed beside this interpreter, or else an equal installation."""
    command = Path(sys.executable).with_name("ch-run")
    return command if command.exists() else install(tmp_path_factory.mktemp("prefix"), native=True)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """An installation of the compiled command."""
    return Compiled(tmp_path_factory.mktemp("compiled") / "prefix")


# A start that has only options of LISTED and succeeds may be handed over only for these reasons.
# They are rare cases.
RARE = {
    "a bind that can't be, of this process, or with :ro",
    "a file in $TMPDIR",
    "a pattern for fnmatch(3)",
    "a rare name",  # with % or +, or of an image's directory in storage
    "a rare start",  # no words, or $POSIXLY_CORRECT
    "a script for the shell",
    "a warning",
    "files of an MPI session",
    "a storage for others",  # Python checks its contents
    "an image that is not there",  # in img/, it has a name without a link
    "the image, or its platform",  # it is for another machine
    "no permission to execute",  # $PATH has another file of that name before the program
    "perhaps a directory of the storage",
    "several letters, or an argument too many",  # -tW
}


# The second run of the tests, on another Python, does without the compiled program.
@pytest.fixture(params=["python", pytest.param("compiled", marks=pytest.mark.slow)])
def ch_run(request: pytest.FixtureRequest, installed: Path, tmp_path: Path) -> ChRun:
    """Run the installed command with a small environment; ``env`` adds variables.

    Each test runs twice: with the stub, and with the compiled program.  The compiled program must
    not hand over a start that has only options of LISTED and succeeds, except for a reason in RARE.
    """
    compiled: Compiled | None = None
    command = python_start(installed)
    if request.param == "compiled":
        compiled = request.getfixturevalue("compiled")
        command = compiled.command

    def run(
        *arguments: str | bytes | Path,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        cwd: Path = tmp_path,
    ) -> Completed:
        environment = ENVIRONMENT | {"CH_IMAGE_STORAGE": str(tmp_path / "storage")}
        environment |= dict(env or {})

        def start() -> Completed:
            return subprocess.run(
                [command, *arguments],
                env=environment,
                input=stdin,
                cwd=cwd,
                capture_output=True,
                timeout=60,
                check=False,
            )

        if compiled is None:
            return start()
        found = read_line(arguments, cwd)
        with remembered_accounts(found and found[0], environment, cwd=cwd):
            compiled.handed_over()
            done = start()
            has_failed = b"]: error: " in done.stderr
            if compiled.handed_over() and found and found[1] <= LISTED and not has_failed:
                reason = compiled.reason(arguments, environment, cwd)
                # Only Python makes mount points below a read-only root or a directory with -W: the
                # reason is a path.
                makes = found[0].image.overlay_size is not None or len(found[0].mounts.binds) > 0
                assert (makes and reason.startswith("/")) or reason in RARE, (reason, arguments)
        return done

    return run


def messages(done: Completed) -> list[str]:
    """Return the messages of ``ch-run`` without the prefix; each message must have it."""
    lines = done.stderr.decode().splitlines()
    assert all(line.startswith("ch-run[") and "]: " in line for line in lines), lines
    return [line.split("]: ", 1)[1] for line in lines]
