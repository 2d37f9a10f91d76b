"""The kernel uses inode numbers again at once; the supervisor must not use their records again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sundog.base.record.owners import read_owners

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.notify.conftest import Container

SECONDS = 2

# Where the program writes: in the root itself; in an overlay on it; in a tmpfs of the container.
PLACES = {
    "in place": "mkdir s; cd s",
    "overlay": "mkdir s; cd s",
    "tmpfs": "mkdir s; mount -t tmpfs s s; cd s",
}


@pytest.mark.slow
@pytest.mark.parametrize("unwatched", ["all", "none"])
@pytest.mark.parametrize("place", PLACES)
def test_nothing_inherits_from_a_removed_file(
    busybox: Container, tmp_path: Path, place: str, unwatched: str
) -> None:
    container = busybox.on_overlay(tmp_path / "overlay") if place == "overlay" else busybox
    script = f"{PLACES[place]}; storm {len(place)} {SECONDS}"
    options = ("--unwatched=0",) if unwatched == "none" else ()
    done = container.run("sh", "-c", script, options=options, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    left = {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in done.stdout.splitlines()}
    assert left
    if place != "tmpfs":
        manifest = read_owners(
            f"{container.upper}/owners".encode()
            if container.upper
            else container.roots[0].partition(":")[2].encode()
        )
        recorded = {
            path.decode()[2:]: f"{record.uid} {record.gid}"
            for path, record in manifest.items()
            if path.startswith(b"s/")
        }
        assert recorded == {path: owner for path, owner in left.items() if owner != "0 0"}
