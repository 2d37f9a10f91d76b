"""A command changes between the last look at it and execve(2): CVE-2019-5736 by a race.

strace holds each execve(2) back, and meanwhile the command becomes a link to /proc/self/exe.  An
image must not get hold of the host's interpreter, nor of the compiled ``ch-run``: neither by a
dynamic loader of its own, nor by a look at a process that has become them in the container.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from sundog.base.record.magic import SQUASHFS_MAGIC
from tests.conftest import command, until
from tests.hostile.trap import WATCHER, Trap, set_trap
from tests.runtime.launcher.compiled import Compiled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return Compiled(tmp_path_factory.mktemp("compiled") / "prefix")


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    with set_trap(tmp_path) as trap:
        yield trap


def watched(trap: Trap, *words: str | Path, **env: str) -> subprocess.Popen[bytes]:
    """Start a container, by ``words``, whose program watches the others."""
    process = trap.start(*words, "/bin/sh", "-c", WATCHER, **env)
    until(lambda: "ready" in trap.log.read_text())
    return process


@pytest.mark.parametrize("kind", ["python", "compiled"])
@pytest.mark.parametrize("form", ["--join-tag", "--join-pid"])
def test_join(trap: Trap, installation: Compiled, kind: str, form: str) -> None:
    tag = f"--join-tag=last-step-{os.getpid()}"
    first = watched(trap, installation.stub, tag, trap.image, "--")
    option = tag if form == "--join-tag" else f"--join-pid={first.pid}"
    trap.arm(trap.image / "bin")
    program = installation.stub if kind == "python" else installation.command
    trap.held(program, option, trap.image, "--", "/bin/tgt", "true").wait()
    trap.sprung(trap.image / "bin")


@pytest.mark.parametrize("option", ["-w", "--notify"])
def test_a_directory(trap: Trap, installation: Compiled, option: str) -> None:
    """The directory may be a neighbour's, or another container may write to it."""
    trap.arm(trap.image / "bin")
    trap.held(installation.stub, option, trap.image, "--", "/bin/tgt", "true").wait()
    trap.sprung(trap.image / "bin")


def test_an_interpreter_of_the_image_beside_ch_run(trap: Trap, installation: Compiled) -> None:
    """The compiled ``ch-run`` starts the interpreter beside itself: not if that is an image's."""
    beside = trap.image / str(installation.command.parent)[1:]
    beside.mkdir(parents=True)
    (beside / "python3").write_text(
        "#!/bin/sh\nfor p in /proc/[0-9]*; do readlink $p/exe; done >/looted 2>/dev/null\n"
    )
    (beside / "python3").chmod(0o755)
    (trap.image / "file").write_bytes(SQUASHFS_MAGIC + bytes(4096))
    trap.arm(trap.image / "bin", b"#!/proc/self/exe /file\n")
    words: tuple[str | Path, ...] = (
        "-w",
        "--no-passwd",
        trap.image,
    )  # no accounts: only Python knows them
    trap.held(installation.command, *words, "--", "/bin/tgt", "true").wait()
    looted = trap.image / "looted"
    assert not looted.exists(), looted.read_text()
    trap.sprung(trap.image / "bin")


def test_a_cache_of_builds(trap: Trap, tmp_path: Path, storage: Path) -> None:
    """RUN of another build has the same cache mount."""
    run = [*command("ch-image"), "-s", str(storage)]
    subprocess.run([*run, "import", trap.image, "base"], check=True, capture_output=True)
    mount = "RUN --mount=type=cache,target=/c"
    build = [*run, "build", "--no-cache", "--force=none", "-t", "x", "-f"]
    files = tmp_path / "files"
    files.mkdir()
    (files / "make").write_text(f'FROM base\n{mount} ["/bin/busybox", "cp", "/bin/tgt", "/c"]\n')
    (files / "use").write_text(f'FROM base\n{mount} ["/c/tgt", "true"]\n')
    subprocess.run([*build, files / "make", files], check=True, capture_output=True)
    (target,) = (storage / "cache-mounts").glob("*/tree/tgt")
    trap.arm(target.parent)
    trap.held(*build, files / "use", files, PATH=os.environ["PATH"]).wait()
    trap.sprung(target.parent)
