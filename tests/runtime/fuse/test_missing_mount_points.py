"""A bind's destination that a one-file image lacks is made on top of the image."""

from pathlib import Path

import pytest

from tests.runtime.fuse.conftest import Containers


@pytest.mark.parametrize(
    "options", [[], ["-u0", "-g0"], ["--notify"], ["-m", "mounted"], ["--join-ct=1"]]
)
def test_it_is_made(
    containers: Containers, squashfs: Path, tmp_path: Path, options: list[str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one").touch()
    (tmp_path / "mounted").mkdir()
    before = squashfs.read_bytes()
    script = "ls /deep/down; ls -d /bin/busybox; stat -c %d / /bin/busybox | uniq | grep -c ."
    script += '; sh -c "echo x >/bin/new" 2>&1 | grep -c Read-only'
    binds = ("-b", "data:/deep/down", "-b", "data/one:/etc/new")
    shown = containers.output("-t", *options, *binds, squashfs, "--", "sh", "-c", script)
    assert shown.split() == ["one", "/bin/busybox", "1", "1"]
    assert squashfs.read_bytes() == before
