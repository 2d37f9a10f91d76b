"""No image makes ``ch-fromhost`` change a file outside of the image."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command, run_program

from .conftest import LONG_NAME, Host, Image, entries

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a directory of the user, with the names that a hostile image could aim at."""
    place = tmp_path / "outside"
    for name in ("fromhost", "usr/local/lib", "lib"):
        (place / name).mkdir(parents=True)
    for name in ("passwd", "fromhost/current", f"lib/{LONG_NAME}", "ld.so.cache", "ch-ofi.conf"):
        (place / name).write_text("mine")
    return place


def up(path: Path) -> str:
    """Return a path that would lead out of a container's root to ``path`` of the host."""
    return "/../../../../../../../../.." + str(path)


@pytest.mark.parametrize("target", ["absolute", "up", "relative"])
@pytest.mark.parametrize("place", ["usr/local/lib", "usr", "etc", "ch", "mnt"])
def test_a_symlink_out_of_the_image(
    host: Host, image: Image, outside: Path, place: str, target: str
) -> None:
    before = dict(entries(outside))
    path = image.path / place
    shutil.rmtree(path, ignore_errors=True)
    path.symlink_to(
        {
            "absolute": str(outside),
            "up": up(outside),
            "relative": os.path.relpath(outside, path.parent),
        }[target]
    )
    done = image.inject("-p", host.library, "-d", "/mnt", "-p", "/etc/passwd", check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1)
    assert dict(entries(outside)) == before


def test_a_symlink_at_the_destination(host: Host, image: Image, outside: Path) -> None:
    before = dict(entries(outside))
    (image.path / "usr/local/lib" / LONG_NAME).symlink_to(outside / "passwd")
    image.inject("-p", host.library)
    assert dict(entries(outside)) == before
    assert image.works()


@pytest.mark.parametrize("state", ["old", "new", "../../..", "nope"])
def test_forged_leftovers(host: Host, image: Image, outside: Path, state: str) -> None:
    """The image has what an interrupted ch-fromhost leaves, with symlinks out of the image."""
    before = dict(entries(outside))
    place = image.path / "ch/fromhost"
    (place / "new").mkdir(parents=True)
    (place / "current").symlink_to(state)
    for tree in ("redo", "undo", "old"):
        (place / tree).symlink_to(outside)
    (place / "new/passwd").write_text("forged")
    (place / "new/usr").symlink_to(outside)
    (image.path / "passwd").symlink_to("/ch/fromhost/current/passwd")
    done = image.inject("-p", host.library, check=False)
    assert "Traceback" not in done.stderr
    assert dict(entries(outside)) == before


def test_a_lock_that_leads_outside(host: Host, image: Image, outside: Path) -> None:
    before = dict(entries(outside))
    (image.path / "ch/fromhost").mkdir(parents=True)
    (image.path / "ch/fromhost/lock").symlink_to(outside / "new")
    done = image.inject("-p", host.library, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert dict(entries(outside)) == before


def test_no_program_of_the_image_runs(host: Host, image: Image) -> None:
    """Neither its ldconfig, nor its shell, nor its dynamic linker."""
    for name in ("sbin/ldconfig", "bin/sh"):
        (image.path / name).write_text("#!/bin/cat\n")
    traced = ["strace", "-f", "-e", "trace=execve,execveat,chroot,pivot_root", "-o"]
    words = [*command("ch-fromhost"), "-p", str(host.library), str(image.path)]
    assert run_program([*traced, str(image.path / "log"), *words]).stdout == "done\n"
    calls = (image.path / "log").read_text()
    assert "execve(" in calls
    assert "root(" not in calls
    assert "ldconfig" not in calls
    assert image.works()


def test_names_that_a_terminal_would_obey(image: Image, tmp_path: Path) -> None:
    path = tmp_path / "lib\x1b[2J"
    path.write_text("x")
    done = image.inject("-v", "--no-ldconfig", "-d", "/mnt", "-p", path)
    assert "\x1b" not in done.stderr
    assert "lib\\x1b[2J" in done.stderr
