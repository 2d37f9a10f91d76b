"""Kinds of containers in jobs that wait, and what must not stay when such jobs have ended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.conftest import SMALL

if TYPE_CHECKING:
    from tests.cluster.conftest import Place

FILE_SERVER = "sundog-fuse"


def kinds(place: Place) -> dict[str, list[str]]:
    """Return words of ch-run: for layers, a file, one shared by tasks, a supervised container."""
    file = str(place.file)
    return {
        "layers": [SMALL],
        "file": [file],
        "group": ["--join", file],
        "supervised": ["--notify", SMALL],
    }


def left(place: Place) -> set[str]:
    """Return this user's servers and keepers, their groups, and the state of containers."""
    found = {line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()}
    found = {name for name in found if name.startswith(f"@sundog-join/{os.getuid()}/")}
    for process in Path("/proc").iterdir():
        try:
            name = (process / "comm").read_text(errors="replace").strip()
            if process.stat().st_uid == os.getuid() and name in (FILE_SERVER, "ch-run-keeper"):
                found.add(f"{name} {process.name}")
        except OSError:
            continue  # it has ended
    storage = Path(place.variables["CH_IMAGE_STORAGE"])
    return found | {str(path) for path in (storage / "run").rglob("*") if not path.is_dir()}


def sleepers(ready: Path) -> list[str]:
    """Return the commands that have the directory in their mounts, or still sleep."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            mounts = (process / "mountinfo").read_text(errors="replace")
        except OSError:
            continue
        if b"99999" in words or f" {ready} " in mounts:
            found.append(process.name)
    return found
