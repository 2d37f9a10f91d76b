"""``ch-run --notify -b``: the caller's files on volumes belong to the user who starts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sundog.runtime.container.bind_option import split_owned
from sundog.runtime.emulation.notify.seccomp.trial import HAS_SUPERVISOR
from tests.runtime.launcher.test_join import Node, end, node
from tests.runtime.launcher.test_notify import stored, tree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.launcher.conftest import ChRun

__all__ = ["node", "stored", "tree"]

pytestmark = pytest.mark.skipif(not HAS_SUPERVISOR, reason="no supervisor on this architecture")

ADA = ("--notify", "-u1815", "-t")
# What a user does on a volume, and what that prints.
DEEDS = (
    ("echo new >made; cat made", "new"),
    ("echo more >>given; cat given", "given more"),
    ("mkdir dir; echo x >dir/x; rm -r dir; echo $?", "0"),
    ("chmod 700 . && chmod 600 given && stat -c %a given", "600"),
    ("mv given moved && mv moved given && ls", "given made sub"),
    ("ln -s given link; ln given hard; rm link hard; echo $?", "0"),
    ("touch -t 202001010000 given; stat -c %y given | cut -c1-4", "2020"),
    ("stat -c %u:%g . given made sub", "1815:100 1815:100 1815:100 1815:100"),
    ("chown 1815:100 given; echo $?; chown 0 given 2>/dev/null; echo $?", "0 1"),
    ("echo x >sub/x; stat -c %u sub/x", "1815"),
    ("chmod 700 sub; find sub -prune -executable; cd sub && pwd", "sub /vol/sub"),
)
SCRIPT = "cd /vol; " + "; ".join(f"echo ': '; {{ {deed}; }} 2>&1" for deed, _ in DEEDS)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Return a directory of the host that only its owner can write to."""
    (tmp_path / "volume" / "sub").mkdir(parents=True)
    (tmp_path / "volume" / "given").write_text("given\n")
    for path in (tmp_path / "volume", tmp_path / "volume" / "sub", tmp_path / "volume" / "given"):
        path.chmod(0o755)
    return tmp_path / "volume"


def answers(output: bytes) -> list[str]:
    return [" ".join(part.split()) for part in output.decode().split(": ")[1:]]


@pytest.mark.parametrize("kind", ["directory", "stored", "overlaid"])
def test_a_user_owns_its_volumes(
    ch_run: ChRun, request: pytest.FixtureRequest, volume: Path, kind: str
) -> None:
    """The image and the volume are on the same file system."""
    if kind == "stored":
        root, name = request.getfixturevalue("stored") / "layers" / "base" / "tree", "app"
    else:
        root = name = request.getfixturevalue("tree")
    options = ["-W"] if kind == "overlaid" else []
    # The mount point decides, through links, and not the path of the source.
    bind = f"-b{volume}:/vol" if kind == "directory" else f"-b{volume}:/mnt/vol"
    if kind != "directory":
        (root / "vol").symlink_to("/mnt/vol")
    done = ch_run(*ADA, *options, bind, name, "--", "sh", "-c", SCRIPT)
    assert dict(zip(DEEDS, answers(done.stdout), strict=True)) == {deed: deed[1] for deed in DEEDS}
    assert (volume / "made").stat().st_uid == os.getuid()
    look = f"stat -c %u:%g /etc /etc/shadow /mnt; echo x >/etc/x; ls -ln {volume.parent}"
    done = ch_run(*ADA, *options, bind, name, "--", "sh", "-c", look)
    assert done.stdout.split() == [b"0:0", b"0:42", b"0:0"]
    assert b"Permission denied" in done.stderr or b"Read-only" in done.stderr


def test_root_sees_no_difference(ch_run: ChRun, tree: Path, volume: Path) -> None:
    look = "cd /vol; stat -c %u:%g . given"
    for mode in ("", ":U"):
        done = ch_run("--notify", f"-b{volume}:/vol{mode}", tree, "--", "sh", "-c", look)
        assert done.stdout.split() == [b"0:0"] * 2


def test_others_in_the_same_container(node: Node, volume: Path) -> None:
    """What root makes there is root's; another user is refused; a second start sees the same."""
    look = "cd /mnt/vol; stat -c %u:%g . given"
    first, shown = node.member(
        "python", "--notify", "-u44", "-g55", f"-b{volume}:/mnt/vol", script=look
    )
    assert first.stdout is not None
    assert shown + first.stdout.readline() == b"44:55\n44:55\n"
    assert node.join("python", look, "--notify", "-u7") == b"44:55\n44:55\n"
    refused = "cd /mnt/vol; (echo x >>given) 2>/dev/null || echo no"
    assert node.join("python", refused, "--notify", "-u7", "-g8") == b"no\n"
    root = (
        "cd /mnt/vol; echo r >roots; mkdir dir; stat -c %u:%g roots dir; chown 5:6 roots;"
        "stat -c %u:%g roots; chown 44:55 roots; chown 0:0 given; stat -c %u:%g roots given"
    )
    expected = b"0:0\n0:0\n5:6\n44:55\n0:0\n"
    assert node.join("python", root, "--notify", "-u0") == expected
    assert node.join("python", refused, "--notify", "-u44", "-g55") == b"no\n"
    end(first)
    (volume / "roots").unlink()
    first, shown = node.member(
        "python", "--notify", "-u44", "-g55", f"-b{volume}:/mnt/vol", script=look
    )
    assert first.stdout is not None
    assert shown + first.stdout.readline() == b"44:55\n44:55\n"  # the host keeps no records
    end(first)


def test_su_sees_the_same(ch_run: ChRun, tree: Path, volume: Path) -> None:
    """The owner is the user of the start, whoever asks."""
    for applet in ("su",):
        (tree / "bin" / applet).symlink_to("busybox")
    look = "stat -c %u:%g /vol/given; echo x 2>/dev/null >>/vol/given || echo no"
    bind = f"-b{volume}:/vol"
    done = ch_run("--notify", "-t", bind, tree, "--", "su", "ada", "-c", look)
    assert done.stdout.split() == [b"0:0", b"no"], done.stderr
    assert (volume / "given").read_text() == "given\n"


def test_owners_on_a_volume_live_as_long_as_the_container(
    ch_run: ChRun, tree: Path, volume: Path
) -> None:
    before = {path: path.stat() for path in (volume, volume / "given", volume / "sub")}
    look = "stat -c %u:%g /vol/given"
    for _ in range(2):
        words = ("--notify", "-t", f"-b{volume}:/vol:U", tree, "--", "sh", "-c")
        done = ch_run(*words, f"{look}; chown 5:6 /vol/given; {look}")
        assert done.stdout.split() == [b"0:0", b"5:6"], done.stderr
    for path, status in before.items():
        now = path.stat()
        assert (now.st_uid, now.st_gid, now.st_mode) == (
            status.st_uid,
            status.st_gid,
            status.st_mode,
        )
        assert os.listxattr(path) == []
    assert sorted(os.listdir(volume)) == ["given", "sub"]


def test_files_of_others(ch_run: ChRun, tree: Path) -> None:
    """They stay root's; with the mode U they are the user's, too, and the host's kernel decides."""
    look = "stat -c %u:%g /vol/passwd; echo x >/vol/x"
    for mode, owner in (("", b"0:0"), (":U", b"1815:100"), (":ro,U", b"1815:100")):
        done = ch_run(*ADA, f"-b/etc:/vol{mode}", tree, "--", "sh", "-c", look)
        assert done.stdout.split() == [owner]
        assert done.returncode == 1
    done = ch_run("-t", "-b/etc:/vol:U", tree, "--", "stat", "-c", "%u", "/vol/passwd")
    assert done.stdout == b"65534\n"  # without --notify there are no owners but the kernel's


def test_a_file_as_a_volume(ch_run: ChRun, tree: Path, volume: Path) -> None:
    (tree / "file").touch()
    words = (*ADA, f"-b{volume / 'given'}:/file", tree, "--", "sh", "-c")
    done = ch_run(*words, "stat -c %u:%g /file /; echo more >>/file")
    assert (done.returncode, done.stdout.split()) == (0, [b"1815:100", b"0:0"])
    assert (volume / "given").read_text() == "given\nmore\n"


def test_mounts_below_a_volume(ch_run: ChRun, tree: Path, volume: Path, tmp_path: Path) -> None:
    """Those of its source count, too; a volume inside of a volume is one of its own."""
    (tmp_path / "inner").mkdir()
    (volume / "sub" / "in").mkdir()
    binds = [f"-b{tmp_path}:/vol", f"-b{tmp_path / 'inner'}:/vol/volume/sub/in"]
    look = "stat -c %u:%g /vol/inner /vol/volume/sub/in /vol/image /proc/self/status /dev/null"
    done = ch_run(*ADA, *binds, tree, "--", "sh", "-c", look)
    assert done.stdout.split() == [b"1815:100"] * 3 + [b"1815:100", b"0:0"]
    done = ch_run(*ADA, "-b/:/mnt", tree, "--", "sh", "-c", f"stat -c %u:%g /mnt{volume} /mnt/etc")
    assert done.stdout.split() == [b"1815:100", b"0:0"]


@pytest.mark.parametrize(
    ("value", "rest", "is_owned"),
    [
        (b"/a:/b", b"/a:/b", False),
        (b"/a:/b:U", b"/a:/b", True),
        (b"/a:/b:ro,U", b"/a:/b:ro", True),
        (b"/a:/b:U,rw", b"/a:/b:rw", True),
        (b"/a:/b:U,x", b"/a:/b:U,x", False),
        (b"/a:U", b"/a", True),
        (b"U", b"U", False),
    ],
)
def test_the_mode_in_a_bind(value: bytes, rest: bytes, *, is_owned: bool) -> None:
    assert split_owned(value) == (rest, is_owned)
