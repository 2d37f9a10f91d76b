"""The file system that the server shows is the one that SquashFUSE shows."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.runtime.fuse.conftest import Containers, make_squashfs

# Paths with type and mode, size, time and links; then contents and the targets of links.
LOOK = """
busybox find . | busybox sort | while read -r path; do
    if [ -d "$path" ]; then busybox stat -c '%n %f %Y' "$path"
    else busybox stat -c '%n %f %s %Y %h' "$path"; fi
    if [ -L "$path" ]; then busybox readlink "$path"
    elif [ -f "$path" ]; then busybox sha256sum <"$path"; fi
done
"""


def fill(tree: Path) -> None:
    """Make files of all kinds that a user can make."""
    (tree / "deep/er").mkdir(parents=True)
    (tree / "deep/er/tail").write_text("a tail\n")
    (tree / "deep/blocks").write_bytes(os.urandom(300_000) + bytes(200_000) + b"end")
    with open(tree / "hole", "wb") as file:
        file.truncate(1_000_000)
    os.link(tree / "deep/blocks", tree / "deep/other name")
    (tree / "to").symlink_to("deep/er/../blocks")
    os.mkfifo(tree / "fifo", 0o640)
    (tree / "deep").chmod(0o2750)
    (tree / "deep/er/tail").chmod(0o4511)
    os.utime(tree / "hole", (1, 1))
    (tree / "many").mkdir()
    for number in range(300):
        (tree / f"many/{number}{'n' * 200}").write_bytes(b"%d" % number * number)


@pytest.mark.parametrize("options", [("-comp", "gzip", "-b", "4096"), ("-comp", "zstd")])
def test_squashfuse_shows_the_same(
    containers: Containers, image: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    tree, place = tmp_path / "tree", tmp_path / "place"
    tree.mkdir()
    place.mkdir()
    fill(tree)
    file = make_squashfs(tree, tmp_path / "file", *options)
    ours = containers.output("-b", f"{file}:/mnt", image, "--", "sh", "-c", f"cd /mnt; {LOOK}")
    script = f'squashfuse_ll "$1" "$2" && cd "$2" && {{ {LOOK} }}; cd /; umount "$2"'
    theirs = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, "sh", file, place],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert len(ours.splitlines()) > 600
    assert ours == theirs
