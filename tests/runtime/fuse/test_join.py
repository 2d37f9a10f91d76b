"""``ch-run --join`` in an image that is one file: the mount lives as long as the group."""

import os
from pathlib import Path

import pytest

from tests.runtime.fuse.conftest import Containers


@pytest.mark.parametrize("options", [[], ["-W"]])
def test_peers_share_a_mount(
    containers: Containers, squashfs: Path, tmp_path: Path, options: list[str]
) -> None:
    words = [f"--join-tag={tmp_path.name}-{os.getpid()}", *options, str(squashfs), "--"]
    probe = "busybox stat -c %d /bin; readlink /proc/self/ns/mnt"
    first = containers.begin(*words, "sh", "-c", "echo ready; read line")
    second = containers.begin(
        *words, "sh", "-c", f"echo ready; read line; {probe}; cat /bin/busybox"
    )
    expected = containers.output(*words, "sh", "-c", probe)
    assert first.communicate(b"\n", timeout=60)[0] == b""
    assert first.returncode == 0
    # The file system is still there for the second one, and for a peer that comes now.
    assert containers.output(*words, "sh", "-c", probe) == expected
    output, _ = second.communicate(b"\n", timeout=60)
    assert second.returncode == 0
    assert output.endswith((tmp_path / "image" / "bin" / "busybox").read_bytes())
    assert expected.encode() in output
