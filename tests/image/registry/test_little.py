"""Work that a pull of an unchanged image and a push of nothing new leave out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import sundog
from tests.conftest import command
from tests.image.pull.conftest import shelf
from tests.image.pull.faulty import FaultyRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Runner
    from tests.image.pull.images import Shelf
    from tests.image.registry.servers import InProcessRegistry

__all__ = ["shelf"]


@pytest.fixture
def pulled(shelf: Shelf, run_ch_image: Runner) -> Iterator[FaultyRegistry]:
    """Yield a registry whose image ``a:1`` is in storage, and unchanged."""
    shelf.image(shelf.base(), tag="a:1")
    with FaultyRegistry(shelf).serve() as registry:
        run_ch_image("pull", f"{registry.host}/a:1")
        registry.asked.clear()
        yield registry


def test_an_unchanged_image_takes_one_request_and_few_modules(
    pulled: FaultyRegistry, storage: Path
) -> None:
    """The modules that unpack layers once took a good part of the time."""
    script = (
        "import os, sys\n"
        "os._exit = lambda status: print(*sys.modules) or sys.exit(status)\n"
        "from sundog.front.cli.image import main\n"
        "sys.argv[1:] = sys.argv[2:]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "", "pull", f"{pulled.host}/a:1"],
        env={"PYTHONPATH": str(Path(sundog.__path__[0]).parent), "CH_IMAGE_STORAGE": str(storage)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "up to date" in done.stderr
    assert [(asked.method, asked.path) for asked in pulled.asked] == [("HEAD", "/v2/a/manifests/1")]
    modules = set(done.stdout.split())
    assert "sundog.image.registry.transport" in modules
    slow = {"rich", "sundog.image.registry.download", "sundog.image.oci.manifest"}
    assert not modules & {*slow, "sundog.image.transfer.layers", "sundog.image.layer.unpack"}


def test_a_push_of_nothing_new_starts_no_process(
    *, in_process: InProcessRegistry, run_ch_image: Runner, busybox_tar: Path, storage: Path
) -> None:
    run_ch_image("import", busybox_tar, "image")
    context = storage.parent / "context"  # one layer alone needs no thread
    context.mkdir()
    (context / "Dockerfile").write_text("FROM image\nCOPY Dockerfile /\n")
    run_ch_image("build", "-t", "image", context)
    run_ch_image("push", "image", f"{in_process.host}/a")
    trace = storage.parent / "trace"
    strace = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=clone,clone3,fork,vfork"]
    again = [*strace, *command("ch-image"), "-s", str(storage)]
    destination = f"{in_process.host}/a"
    subprocess.run([*again, "push", "image", destination], check=True, capture_output=True)
    calls = [line for line in trace.read_text().splitlines() if re.search(r"(clone|fork)", line)]
    assert calls
    assert all("CLONE_THREAD" in line for line in calls)
