"""Paths that nobody but trusted accounts can change."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from sundog.base.configuration.trusted import open_regular_file, open_trusted
from sundog.errors import Distrusted, SundogError

ROOT, OWN = 0, os.geteuid()


def trusted(path: Path, *owners: int) -> bytes:
    """Return the contents of a file whose path is trusted."""
    found = open_trusted(os.fsencode(path), owners or (ROOT, OWN))
    try:
        file = open_regular_file(found, os.fsencode(path))
    finally:
        os.close(found)
    with open(file, "rb") as opened:
        return opened.read()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Make a file in a directory, both with modes that do not depend on the umask."""
    directory = tmp_path / "directory"
    directory.mkdir()
    directory.chmod(0o755)
    path = directory / "file"
    path.write_bytes(b"kept")
    path.chmod(0o644)
    return path


def test_it_opens_what_root_and_the_user_alone_can_change(file: Path) -> None:
    assert trusted(file) == b"kept"
    file.chmod(0o400)
    assert trusted(file) == b"kept"
    above = file.parent / ".." / file.parent.name / "." / file.name
    assert trusted(above) == b"kept"


def _belongs_to_another(file: Path) -> tuple[int, ...]:
    del file
    return (ROOT,)


def _with_mode(mode: int, *, is_file: bool) -> Callable[[Path], tuple[int, ...]]:
    def change(file: Path) -> tuple[int, ...]:
        (file if is_file else file.parent).chmod(mode)
        return ROOT, OWN

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_belongs_to_another, "belongs to"),
        (_with_mode(0o664, is_file=True), "file is writable to others than its owner (mode 0664)"),
        (_with_mode(0o646, is_file=True), "file is writable to others than its owner (mode 0646)"),
        (_with_mode(0o775, is_file=False), "directory is writable to others than its owner"),
        (_with_mode(0o757, is_file=False), "directory is writable to others than its owner"),
    ],
)
def test_it_refuses_what_others_can_change(
    file: Path, change: Callable[[Path], tuple[int, ...]], message: str
) -> None:
    owners = change(file)
    with pytest.raises(Distrusted, match=re.escape(message)):
        trusted(file, *owners)


def test_a_sticky_directory_is_only_a_way(file: Path) -> None:
    """In a sticky directory nobody can rename the file of another; but anybody can make one."""
    file.parent.chmod(0o1777)
    assert trusted(file) == b"kept"
    with pytest.raises(Distrusted, match="mode 1777"):
        os.close(open_trusted(os.fsencode(file.parent), (ROOT, OWN)))


def test_it_follows_a_link_of_a_trusted_owner(file: Path, tmp_path: Path) -> None:
    for target in (file.parent, Path("directory")):
        link = tmp_path / f"link-{target.is_absolute()}"
        link.symlink_to(target)
        assert trusted(link / "file") == b"kept"
        with pytest.raises(Distrusted, match="belongs to"):
            trusted(link / "file", ROOT)
    # What the link leads to counts, and each directory on the way there.
    file.parent.chmod(0o777)
    with pytest.raises(Distrusted, match="writable"):
        trusted(tmp_path / "link-True" / "file")


def test_a_link_in_a_sticky_directory_has_an_owner(file: Path, tmp_path: Path) -> None:
    """Root's sticky /tmp may have a stranger's link: the owner of the link decides."""
    (tmp_path / "link").symlink_to("/etc/passwd")
    del file
    with pytest.raises(Distrusted, match="belongs to"):
        trusted(tmp_path / "link", ROOT)


def test_loops_and_other_kinds_end(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(Exception, match="Too many levels") as looped:
        trusted(tmp_path / "loop")
    assert isinstance(looped.value, Exception)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(Distrusted, match="neither a directory nor a file"):
        trusted(tmp_path / "fifo")
    with pytest.raises(Distrusted, match="is not a file"):
        trusted(tmp_path)
    with pytest.raises(FileNotFoundError):
        trusted(tmp_path / "gone")
    with pytest.raises(NotADirectoryError):
        trusted(Path("/etc/passwd/below"))


def test_a_path_below_a_descriptor(file: Path) -> None:
    directory = os.open(file.parent, os.O_PATH)
    try:
        os.close(open_trusted(b"file", (ROOT, OWN), directory))
        # The descriptor stays at the directory, whatever its path leads to now.
        file.parent.rename(file.parent.with_name("moved"))
        file.parent.mkdir()
        os.close(open_trusted(b"file", (ROOT, OWN), directory))
    finally:
        os.close(directory)


def test_no_descriptor_is_left(file: Path, tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    (tmp_path / "loop").symlink_to("loop")
    for path, owners in ((file, (ROOT,)), (tmp_path / "loop", (ROOT, OWN)), (file, (ROOT, OWN))):
        with suppress(SundogError, OSError):  # each ends in its own way
            trusted(path, *owners)
    assert os.listdir("/proc/self/fd") == before
