"""The command can write nothing, the image (-w), or a temporary copy (-W)."""

from pathlib import Path

import pytest

from tests.runtime.launcher.conftest import ChRun, messages

CHANGE = (
    "echo new >/mnt/new && echo more >>/etc/motd && rm /etc/old && mkdir /etc/dir/sub"
    " && rm -r /etc/dir && mkdir /etc/dir && ls /etc/dir && echo done"
)


@pytest.fixture
def tree(image: Path) -> Path:
    (image / "etc" / "motd").write_text("hello\n")
    (image / "etc" / "old").touch()
    (image / "etc" / "dir").mkdir()
    (image / "etc" / "dir" / "inner").touch()
    for applet in ("rm", "mkdir"):
        (image / "bin" / applet).unlink(missing_ok=True)
        (image / "bin" / applet).symlink_to("busybox")
    return image


def contents(tree: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(tree)): (path.stat().st_mode, path.read_bytes())
        for path in tree.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_by_default_it_is_read_only(ch_run: ChRun, tree: Path) -> None:
    before = contents(tree)
    for target in ("/new", "/etc/motd", "/mnt/new"):
        done = ch_run(tree, "--", "sh", "-c", f"echo x >>{target}")
        assert b"Read-only file system" in done.stderr
    assert contents(tree) == before


def test_write(ch_run: ChRun, tree: Path) -> None:
    assert ch_run("-w", tree, "--", "sh", "-c", CHANGE).stdout == b"done\n"
    assert (tree / "mnt" / "new").read_text() == "new\n"
    assert (tree / "etc" / "motd").read_text() == "hello\nmore\n"
    assert not (tree / "etc" / "old").exists()


@pytest.mark.parametrize("options", [["-W"], ["-W5m"], ["--write-fake=50%"], ["-w", "-W"]])
def test_write_fake(ch_run: ChRun, tree: Path, options: list[str]) -> None:
    before = contents(tree)
    assert ch_run(*options, tree, "--", "sh", "-c", CHANGE).stdout == b"done\n"
    assert contents(tree) == before


def test_write_fake_has_a_size(ch_run: ChRun, tree: Path) -> None:
    script = "cat /dev/zero >/big; stat -c %s /big"
    done = ch_run("-W1m", tree, "--", "sh", "-c", script)
    assert b"No space left on device" in done.stderr
    assert 0 < int(done.stdout) <= 1 << 20


@pytest.mark.parametrize("size", ["x", "5q", "-1", "101x", "=4m", "5m,mode=7"])
def test_write_fake_of_no_size(ch_run: ChRun, tree: Path, size: str) -> None:
    done = ch_run(f"-W{size}", tree, "--", "true")
    assert done.returncode == 31
    error, hint = messages(done)
    assert error == f"error: can't mount tmpfs for -W: not a size: {size}"
    assert hint.startswith("hint: SIZE is a number of bytes")


@pytest.mark.parametrize("mode", [0o755, 0o700, 0o1777, 0o555])
def test_write_fake_keeps_the_mode_of_the_root(ch_run: ChRun, tree: Path, mode: int) -> None:
    tree.chmod(mode)
    try:
        assert ch_run("-W", tree, "--", "stat", "-c", "%a", "/").stdout == b"%o\n" % mode
    finally:
        tree.chmod(0o755)


@pytest.mark.parametrize("name", ["a:b", "a,b", "a\\b", "a b", "a=b%41", "a\nb", "\u00e9", "x,y=z"])
def test_any_name_can_be_overlaid(ch_run: ChRun, tree: Path, name: str) -> None:
    renamed = tree.rename(tree.parent / name)
    done = ch_run("-W", renamed, "--", "sh", "-c", "echo x >/x && cat /x")
    assert done.stdout == b"x\n", done.stderr


def test_inode_numbers_hold(ch_run: ChRun, tree: Path) -> None:
    script = "stat -c %i /etc/motd; echo x >>/etc/motd; stat -c %i /etc/motd"
    before, after = ch_run("-W", tree, "--", "sh", "-c", script).stdout.split()
    assert before == after


def test_a_relative_image_and_a_link_to_one(ch_run: ChRun, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree)
    for image in ("image", "./image/", "link", "../" + tmp_path.name + "/image"):
        for options in ([], ["-W"], ["-w"]):
            done = ch_run(*options, image, "--", "cat", "/etc/motd")
            assert done.stdout == b"hello\n", (image, options, done.stderr)


def test_write_fake_over_a_mount(ch_run: ChRun) -> None:
    done = ch_run("-W", "/", "--", "true")
    assert done.returncode == 31
    error, hint = messages(done)
    assert error == "error: can't mount overlay on /: Invalid argument"
    assert hint.startswith("hint: for -W the image must be on a file system that can be overlaid")


def test_a_bind_may_be_named_twice(ch_run: ChRun, tree: Path) -> None:
    done = ch_run("-W", "-b", "/usr:/new", "-b", "/usr:/new", tree, "--", "ls", "/new")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"bin\n" in done.stdout
