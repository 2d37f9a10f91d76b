"""A command changes between the last look at it and execve(2): see tests/hostile/test_last_step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import until
from tests.hostile.trap import WATCHER, Trap, set_trap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.front.oci_runtime.conftest import Json, Runtime


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    with set_trap(tmp_path) as trap:
        yield trap


@pytest.fixture
def container(trap: Trap, oci: Runtime, bundle: Callable[..., Path]) -> Callable[..., Path]:
    """Return the function that makes a bundle of the image with the command ``args``."""

    def make(*args: str, hooks: Json | None = None) -> Path:
        def change(config: Json) -> None:
            config["root"] = {"path": str(trap.image)}
            config["process"]["args"] = list(args)
            config["hooks"] = hooks or {}

        return bundle(change=change)

    return make


def test_oci_exec(trap: Trap, oci: Runtime, container: Callable[..., Path]) -> None:
    oci("create", "--bundle", container("/bin/sh", "-c", WATCHER), "c")
    oci("start", "c")
    until(lambda: "ready" in oci.output())
    trap.arm(trap.image / "bin")
    trap.held(*oci.argv(), "exec", "c", "/bin/tgt", "true").wait()
    oci("kill", "c", "KILL")
    trap.sprung(trap.image / "bin")


HOOK = {"startContainer": [{"path": "/bin/tgt", "args": ["tgt", "true"]}]}


@pytest.mark.parametrize("hooks", [{}, HOOK], ids=["command", "hook"])
def test_oci_start(trap: Trap, oci: Runtime, container: Callable[..., Path], hooks: Json) -> None:
    """Another container may have the same root."""
    command = ["/bin/true"] if hooks else ["/bin/tgt", "true"]
    bundle = container(*command, hooks=hooks)
    trap.held(*oci.argv(), "create", "--bundle", bundle, "c")
    until(lambda: (oci.root / "c").exists() and oci.status("c") == "created")
    trap.arm(trap.image / "bin")
    trap.log.write_text(oci("start", "c", check=False).stderr)  # what a hook has said
    oci.await_status("c", "stopped")
    trap.sprung(trap.image / "bin")
