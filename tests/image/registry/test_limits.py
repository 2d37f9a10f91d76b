"""Limits of processes, threads, open files and renames: each gives an error with a hint."""

from __future__ import annotations

import os
import random
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command
from tests.image.layer.archives import archive, directory, file, symlink
from tests.image.pull.conftest import leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.conftest import Completed, Runner
    from tests.image.registry.servers import InProcessRegistry

    Limited = Callable[[Sequence[str], str], Completed]

_NO_PROCESS = r"error: .*(can't start another (process|thread)): Resource temporarily unavailable\n"
_PROCESS_HINT = r"hint: you may have (\d+|any number of) processes and threads here"
_NO_FILE = r"error: (.*): [Tt]oo many open files\n"
_FILE_HINT = r"hint: a process may have \d+ files open here \(ulimit -n\)"


@pytest.fixture
def place(run_ch_image: Runner, tmp_path: Path, in_process: InProcessRegistry) -> Path:
    """Return a directory with an image as tar and as context; push it, and keep it in storage."""
    content = (directory("bin"), file("bin/data", random.Random(0).randbytes(99)), file("etc/x"))
    (tmp_path / "tar").write_bytes(archive(*content).getvalue())
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM image\nCOPY tar /\nCOPY tar tar /b/\n")
    (context / "tar").write_text("x")
    run_ch_image("import", tmp_path / "tar", "image")
    run_ch_image("push", "image", f"{in_process.host}/a")
    return tmp_path


@pytest.fixture
def limited(place: Path, storage: Path, in_process: InProcessRegistry) -> Limited:
    """Return a function that runs a Sundog command behind a program that limits it."""

    def run(limit: Sequence[str], line: str) -> Completed:
        name, *words = line.format(host=in_process.host, place=place).split()
        return subprocess.run(
            [*limit, *command(name), *words],
            env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def injected(place: Path, calls: str, error: str, when: str) -> list[str]:
    """Return the strace command that lets system calls of the first process fail."""
    fault = f"inject={calls}:error={error}:when={when}"
    return ["strace", "-qq", "-o", str(place / "trace"), "-e", fault, "-e", f"trace={calls}"]


def says(done: Completed, error: str, hint: str) -> None:
    """Check that a command failed with one error of one line, and one hint."""
    assert done.returncode in (1, 31), done.stderr
    assert "Traceback" not in done.stderr
    said = re.sub(r"^ch-run\[\d+\]: ", "", done.stderr, flags=re.MULTILINE)
    assert re.search(f"^{error}{hint}.*$", said, re.MULTILINE), done.stderr
    assert len(re.findall("^error: ", said, re.MULTILINE)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "ch-image import {place}/tar y",
        "ch-image build -t y {place}/context",
        "ch-image pull {host}/a y",
        "ch-image push image {host}/b",
        "ch-image save -o {place}/saved image",
    ],
)
def test_no_more_processes(*, line: str, limited: Limited, run_ch_image: Runner) -> None:
    """The process that runs the tests counts against its user's limit too."""
    done = limited(["prlimit", "--nproc=1"], line)
    says(done, _NO_PROCESS, _PROCESS_HINT)
    assert run_ch_image("list").stdout == "image\n"


@pytest.mark.parametrize("line", ["ch-image pull {host}/a y", "ch-image push image {host}/b"])
def test_no_more_threads(
    *, line: str, limited: Limited, place: Path, storage: Path, run_ch_image: Runner
) -> None:
    """The error is the same for each thread that can't start; one layer alone needs none."""
    if "push" in line:
        run_ch_image("build", "-t", "image", place / "context")
    failed = 0
    for number in range(1, 12):
        done = limited(injected(place, "clone3", "EAGAIN", f"{number}"), line)
        if done.returncode:
            says(done, _NO_PROCESS, _PROCESS_HINT)
            assert run_ch_image("list").stdout == "image\n"
            failed += 1
        else:
            break
    assert failed
    assert [name for name in leftovers(storage) if name.startswith("tmp/")] == []


@pytest.mark.parametrize(
    "line",
    [
        "ch-image import {place}/tar y",
        "ch-image build --no-cache -t y {place}/context",
        "ch-image pull {host}/a y",
        "ch-image save -o {place}/saved image",
        "ch-run image -- /bin/data",
    ],
)
def test_no_more_open_files(*, line: str, limited: Limited, run_ch_image: Runner) -> None:
    """The limit grows from the least with which Python starts to one that is enough."""
    failed = 0
    for number in (*range(5, 14), *range(14, 40, 4)):
        done = limited(["prlimit", f"--nofile={number}"], line)
        if done.returncode == 0 or "Permission denied" in done.stderr:  # /bin/data has mode 0000
            break
        if re.search(
            "^(Fatal Python|ImportError|OSError|/bin/sh: |.*can't start: )",
            done.stderr,
            re.MULTILINE,
        ):
            continue  # Sundog's code had not started
        says(done, _NO_FILE, _FILE_HINT)
        failed += 1
    else:
        pytest.fail("it never works")
    assert failed
    names = {"image\n", "image\ny\n"} if done.returncode == 0 else {"image\n"}
    assert run_ch_image("list").stdout in names


@pytest.mark.parametrize(
    ("line", "calls"),
    [
        ("ch-image import {place}/tar y", "rename"),
        ("ch-image build -t y {place}/context", "rename"),
        ("ch-image tag image y", "renameat2,rename"),
    ],
)
def test_what_cannot_be_renamed(
    *, line: str, calls: str, limited: Limited, place: Path, run_ch_image: Runner
) -> None:
    """A mount, another subvolume or another project is in the storage directory."""
    failed = 0
    for number in range(1, 20):
        done = limited(injected(place, calls, "EXDEV", str(number)), line)
        if done.returncode == 0:
            break
        says(
            done,
            r"error: can't rename( or link)? .+ to .+: Invalid cross-device link: "
            rf"storage directory {place}/storage\n",
            "hint: all of it must be on one file system, .*--storage",
        )
        # The last rename only moves rubbish; the command is done by then.
        assert run_ch_image("list").stdout in ("image\n", "image\ny\n")
        failed += 1
    assert failed


def test_no_file_is_left_in_the_machine(limited: Limited, place: Path) -> None:
    done = limited(injected(place, "pipe2", "ENFILE", "1"), "ch-image import {place}/tar y")
    says(
        done,
        "error: can't open another file or pipe: Too many open files in system\n",
        r"hint: all processes of this machine together .*fs\.file-max is \d+",
    )


@pytest.mark.parametrize("driver", ["overlay", "copy"])
def test_a_full_disk_is_not_the_fault_of_what_a_symlink_points_to(
    *,
    place: Path,
    driver: str,
    run_ch_image: Runner,
    small_tmpfs: Callable[[int, str], Path],
) -> None:
    """Each symlink points to an existing file on another file system."""
    target = place / "tar"
    mount = small_tmpfs(4096, "nr_inodes=150")
    storage = mount / "storage"
    links = [symlink(f"l{number}", str(target)) for number in range(200)]
    (place / "links").write_bytes(archive(*links).getvalue())
    (place / "context/d").mkdir()
    for number in range(200):
        (place / "context/d" / f"l{number}").symlink_to(target)
    (place / "context/Dockerfile").write_text("FROM scratch\nCOPY d /\n")
    for line in (f"import {place}/links x", f"build -t x {place}/context"):
        environment = {"CH_IMAGE_DRIVER": driver}
        words = ("-s", str(storage), *line.split())
        done = run_ch_image(*words, check=False, env=environment)
        says(
            done,
            f"error: no space left on tmpfs at {mount}: storage directory {storage}\n",
            "hint: free some space there",
        )
        assert str(target) not in done.stderr.partition("error: ")[2]
