"""``ch-run --overlay DIR[:ro]``: changes that stay in a directory of the user."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command, run_program
from tests.image.convert.formats import make_sif
from tests.runtime.fuse.conftest import make_squashfs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Completed


class Place:
    """A storage directory with the image bb, a directory with its files, and a SIF."""

    def __init__(self, path: Path, busybox: Path) -> None:
        self.storage = path / "storage"
        run_program([*command("ch-image"), "-s", self.storage, "import", busybox, "bb"])
        tree = path / "tree"
        tree.mkdir()
        subprocess.run(["tar", "-xf", busybox, "-C", tree], check=True)
        sif = path / "x.sif"
        sif.write_bytes(make_sif(make_squashfs(tree, path / "squashfs").read_bytes()))
        self.images = {"name": "bb", "directory": str(tree), "sif": str(sif)}

    def run(self, *words: str | Path, script: str = "true", check: bool = True) -> Completed:
        """Run a script of the shell in a container; the last word is IMAGE."""
        argv = [*command("ch-run"), "-s", self.storage, *words, "--", "sh", "-c", script]
        return run_program(argv, check=check)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Place:
    return Place(tmp_path_factory.mktemp("overlay"), busybox_tar)


@pytest.mark.parametrize("kind", ["name", "directory", "sif"])
def test_changes_stay(place: Place, tmp_path: Path, kind: str) -> None:
    """The next container has them, also what is gone; the image does not change."""
    image, first, second = place.images[kind], tmp_path / "a:b", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    script = "echo new > /file; rm /bin/ls; echo more >> /etc/passwd"
    place.run("--no-passwd", f"--overlay={first}", image, script=script)
    script = "cat /file; test -e /bin/ls || echo gone; tail -n1 /etc/passwd; : > /file 2>&-"
    words = ["--no-passwd", f"--overlay={first}:ro"]
    done = place.run(*words, image, script=script, check=False)
    assert done.stdout.split() == ["new", "gone", "more"]
    assert done.returncode
    assert (first / "upper/file").read_text() == "new\n"
    assert place.run(image, script="test -e /bin/ls && test ! -e /file").returncode == 0
    words = [f"--overlay={second}", f"--overlay={first}:ro"]
    place.run(*words, image, script="cat /file; echo second > /file")
    assert place.run(*words, image, script="cat /file").stdout == "second\n"
    assert (first / "upper/file").read_text() == "new\n"
    # The later one of two is on top, unless the other one is writable.
    words = [f"--overlay={second}:ro", f"--overlay={first}:ro"]
    assert place.run(*words, image, script="cat /file").stdout == "new\n"
    assert place.run("-W", *words, image, script="echo 1 >> /file; cat /file").stdout == "new\n1\n"
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "own").write_text("own\n")
    assert place.run(f"--overlay={plain}:ro", image, script="cat /own").stdout == "own\n"


@pytest.mark.parametrize("kind", ["name", "directory", "sif"])
def test_owners_stay(place: Place, tmp_path: Path, kind: str) -> None:
    """With --notify, records are beside the changes, and later runs add to them."""
    image = place.images[kind]
    words = ["--notify", f"--overlay={tmp_path}", image]
    script = "id -u; echo a > /a; echo b > /b; mkdir /d; chown 1:2 /a /d; chown 3:4 /etc/passwd"
    assert place.run(*words, script=script).stdout == "0\n"
    script = "stat -c %u:%g /a /b /d /etc/passwd; chown 5 /b; rm /a; : > /a"
    assert place.run(*words, script=script).stdout.split() == ["1:2", "0:0", "1:2", "3:4"]
    words[1] += ":ro"
    script = "stat -c %u:%g /a /b /d /etc/passwd"
    assert place.run(*words, script=script).stdout.split() == ["0:0", "5:0", "1:2", "3:4"]
    (tmp_path / "owners").unlink()
    assert place.run(*words, script="stat -c %u:%g /b").stdout == "0:0\n"
    (tmp_path / "owners").write_bytes(b"damaged")
    done = place.run(*words, check=False)
    assert done.returncode
    assert "damaged" in done.stderr


def test_mistakes(place: Place, tmp_path: Path) -> None:
    """Each is one line that names the directory, with a hint, and nothing is made."""
    file = tmp_path / "overlay.img"
    file.write_bytes(b"\0" * 4096)
    for words, text in (
        ([f"--overlay={file}"], f"not a directory: {file}"),
        ([f"--overlay={tmp_path}/none"], f"can't use {tmp_path}/none: No such file"),
        (["--overlay=:ro"], "DIR must have non-zero length"),
        ([f"--overlay={tmp_path}", f"--overlay={tmp_path}"], "only one can be writable"),
        ([f"--overlay={tmp_path}", "-W"], "--write-fake incompatible with --overlay"),
        ([f"--overlay={tmp_path}", "-w"], "--write incompatible with --overlay"),
        (["--overlay=/etc"], "not a directory of yours: /etc"),
    ):
        done = place.run(*words, place.images["directory"], check=False)
        assert done.returncode, words
        assert text in done.stderr, words
        assert "hint:" in done.stderr, words
    assert [path.name for path in tmp_path.iterdir()] == ["overlay.img"]


def test_the_supervisor_leads_nowhere(place: Place, tmp_path: Path) -> None:
    """A link to the supervisor's descriptors makes no file beside the directory, or above it."""
    overlay = tmp_path / "parent/overlay"
    overlay.mkdir(parents=True)
    script = """
    ln -s /proc/self/fd /l; ln -s /proc/./self/fd /m
    for at in /l /m; do for n in 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        for up in . .. ../.. ../../..; do
            mkdir $at/$n/$up/escaped-dir; : > $at/$n/$up/escaped; chown 1 $at/$n/$up/escaped
        done
    done; done 2>/dev/null
    """
    place.run("--notify", f"--overlay={overlay}", "bb", script=script, check=False)
    assert sorted(path.name for path in overlay.iterdir()) == ["owners", "upper", "work"]
    assert [path.name for path in overlay.parent.iterdir()] == ["overlay"]
    assert [path.name for path in tmp_path.iterdir()] == ["parent"]


def test_an_image_leads_nowhere(place: Place, tmp_path: Path) -> None:
    """A program that has replaced the directory, or one in it, gains no way to write elsewhere."""
    layers = place.storage / "layers"
    [layer, *_] = layers.iterdir()
    before = sorted(os.listdir(layer / "tree"))
    overlay, precious = tmp_path / "overlay", tmp_path / "precious"
    precious.mkdir()
    for target in (layer, layer / "tree", place.storage, place.storage.parent, layers):
        overlay.symlink_to(target)
        for mode in ("", ":ro"):
            done = place.run(f"--overlay={overlay}{mode}", "bb", script=": > /made", check=False)
            assert done.returncode, (target, mode)
            assert "a directory of Sundog's own" in done.stderr, (target, mode)
        overlay.unlink()
    for name in ("upper", "work"):
        overlay.mkdir()
        (overlay / name).symlink_to(precious)
        done = place.run(f"--overlay={overlay}", "bb", script=": > /made", check=False)
        assert done.returncode
        (overlay / name).unlink()
        for other in overlay.iterdir():
            other.rmdir()
        overlay.rmdir()
    assert list(precious.iterdir()) == []
    assert sorted(os.listdir(layer / "tree")) == before
