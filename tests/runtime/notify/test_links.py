"""Hard links of recorded files in a lower layer: the owners of all names after one changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sundog.base.record.owners import read_owners

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.notify.conftest import Container

SHOW = "stat -c '%u:%g %h %n'"


@pytest.fixture
def linked(busybox: Container, tmp_path: Path) -> Container:
    """Return an overlay on a layer: b, c and d are one file of 5:6; d2 is a file of another."""
    below = busybox.on_overlay(tmp_path / "below")
    below.sh("echo x >a; chown 5:6 a; for n in b c d; do ln a $n; done; rm a")
    return below.next_layer(tmp_path / "above")


def owners(container: Container) -> dict[bytes, tuple[int, int]]:
    """Return the owners in the records of the new layer."""
    manifest = read_owners(f"{container.upper}/owners".encode())
    return {path: (record.uid, record.gid) for path, record in manifest.items()}


# A command that changes b; then the output of `stat` for b, and the records of the layer.
CHANGES = {
    "append": ("echo >>b", "5:6 1 b\n", {b"b": (5, 6)}),
    "chmod": ("chmod 600 b", "5:6 1 b\n", {b"b": (5, 6)}),
    "chown": ("chown 7 b", "7:6 1 b\n", {b"b": (7, 6)}),
    "chown to root": ("chown 0:0 b", "0:0 1 b\n", {}),
    "rename": ("mv b e; echo >>e; mv e b", "5:6 1 b\n", {b"b": (5, 6)}),
    "through a link": ("ln -s b e; echo >>e; rm e", "5:6 1 b\n", {b"b": (5, 6)}),
    "from elsewhere": ("cd /bin; echo >>../b; cd /", "5:6 1 b\n", {b"b": (5, 6)}),
    "another link": ("ln b e; rm b; mv e b", "5:6 1 b\n", {b"b": (5, 6)}),
    "two links": ("ln b e; echo >>b", "5:6 2 b\n", {b"b": (5, 6), b"e": (5, 6)}),
    "in a root of its own": ("chroot / sh -c 'echo >>/b'", "5:6 1 b\n", {b"b": (5, 6)}),
    "new": ("rm b; echo y >b", "0:0 1 b\n", {}),
    "new, of somebody": ("rm b; echo y >b; chown 8 b", "8:0 1 b\n", {b"b": (8, 0)}),
    "replaced": ("echo y >new; mv new b", "0:0 1 b\n", {}),
    "replaced by another": ("mv c b; echo >>b", "5:6 1 b\n", {b"b": (5, 6)}),
    "nothing": (":", "5:6 3 b\n", {}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_name_keeps_the_record_and_the_others_theirs(
    linked: Container, change: str
) -> None:
    script, shown, recorded = CHANGES[change]
    assert linked.sh(f"set -e; {script}; {SHOW} b; {SHOW} d").splitlines(True)[0] == shown
    assert owners(linked) == recorded
    assert linked.sh("stat -c %u:%g d").strip() == "5:6"


def test_changed_name_is_known_without_a_look_at_it(linked: Container, tmp_path: Path) -> None:
    linked.sh("echo >>b; echo >>c; rm c; echo y >c")
    assert owners(linked) == {b"b": (5, 6)}
    after = linked.next_layer(tmp_path / "next")
    assert after.sh(f"{SHOW} b c d") == "5:6 1 b\n0:0 1 c\n5:6 3 d\n"
