"""Bundles with programs of another machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import base_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.front.oci_runtime.conftest import Json, Runtime


@pytest.mark.parametrize("force", ["none", "seccomp"])
def test_the_emulator_is_there(
    oci: Runtime, bundle: Callable[..., Path], rootfs: Path, tmp_path: Path, force: str
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(rootfs, tree, symlinks=True)
    subprocess.run(
        ["tar", "-C", tree, "-xf", base_image("busybox-arm64"), "bin/busybox"], check=True
    )

    def change(config: Json) -> None:
        config["root"]["path"] = str(tree)

    path = bundle("read x </proc/version; ls /proc/sys/fs/binfmt_misc; tail -f /dev/null", change)
    (tree / "bin" / "uname").symlink_to("busybox")
    oci("--force", force, "create", "-b", path, "c")
    oci("start", "c")
    done = oci("exec", "c", "uname", "-m")
    assert done.stdout == "aarch64\n"
    oci("kill", "c", "KILL")
    assert os.listdir(tree / "tmp") == []
