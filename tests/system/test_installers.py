"""The wheel, installed by other installers than pip: uv compiles nothing.

`make test` passes the wheel; in a checkout, the test builds it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scripts import install

from sundog.base.record.location import account_name

if TYPE_CHECKING:
    from collections.abc import Sequence

# No cache that others share, and no index.
UV = ("pip", "install", "--quiet", "--offline", "--no-cache", "--no-deps")


def run(argv: Sequence[str | Path], **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        argv,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def wheel() -> str:
    return os.environ.get("SUNDOG_WHEEL", "") or str(install.wheel())


@pytest.fixture
def uv() -> str:
    return str(Path(sys.executable).with_name("uv"))


def test_uv_into_a_virtual_environment(
    uv: str, wheel: str, tmp_path: Path, busybox_tree: Path
) -> None:
    venv = tmp_path / "venv"
    run([uv, "venv", "--quiet", "--offline", "--no-cache", "--python", sys.executable, venv])
    run([uv, *UV, "--python", venv / "bin" / "python", wheel])
    assert not list(venv.glob("lib/*/site-packages/sundog/**/*.pyc"))
    for _ in range(2):  # the second start finds what the first compiled
        seen = run([venv / "bin" / "ch-run", busybox_tree, "--", "echo", "inside"])
        assert (seen.stdout, seen.stderr) == ("inside\n", "")
    seen = run([venv / "bin" / "ch-image", "gestalt", "storage-path"], USER="ada")
    assert seen.stdout == f"/var/tmp/{account_name(os.geteuid()).decode()}.sundog\n"
    pages = {path.stem for path in (venv / "share/man/man1").iterdir()}
    assert pages >= {
        "ch-checkns",
        "ch-convert",
        "ch-fromhost",
        "ch-image",
        "ch-run",
        "ch-run-oci",
        "ch-test",
        "sundog",
        "sundog-fakeroot",
    }


def test_uv_into_a_directory(uv: str, wheel: str, tmp_path: Path, busybox_tree: Path) -> None:
    target = tmp_path / "target"
    run([uv, *UV, "--python", sys.executable, "--target", target, wheel])
    seen = run([target / "bin" / "ch-run", busybox_tree, "--", "echo", "inside"])
    assert (seen.stdout, seen.stderr) == ("inside\n", "")
    # Nothing says where its commands are, so no other installation is made of it.
    done = subprocess.run(
        [target / "bin" / "sundog", "install", "--prefix", tmp_path / "new"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "hint: install Sundog by pip or uv" in done.stderr) == (1, True)
    assert not (tmp_path / "new").exists()
