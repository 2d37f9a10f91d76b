"""The kernel really mounts these overlays, with any names of directories."""

from __future__ import annotations

import errno
import os
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.base.kernel.mounts import mount
from sundog.base.kernel.overlay import overlay_data
from sundog.errors import KernelError

from .child import in_namespaces

# Often draw names that are difficult in the option string.
NAMES = st.lists(
    st.one_of(
        st.sampled_from([b"\\", b":", b",", b" ", b"=", b"\n", b"a", b"\\:", b"upperdir="]),
        st.binary(min_size=1, max_size=4).map(
            lambda name: name.replace(b"\0", b"0").replace(b"/", b"|")
        ),
    ),
    min_size=1,
    max_size=8,
).map(b"".join)
USABLE_NAMES = NAMES.filter(lambda name: name not in (b".", b"..", b"merged"))


def enter_scratch() -> None:
    scratch = tempfile.mkdtemp()
    mount(b"tmpfs", os.fsencode(scratch), b"tmpfs", 0, None)
    os.chdir(scratch)
    os.mkdir("merged")


@settings(database=None, deadline=None, max_examples=60)
@given(st.lists(USABLE_NAMES, min_size=4, max_size=4, unique=True))
def test_directories_may_have_any_name(names: list[bytes]) -> None:
    def attempt() -> tuple[list[str], list[str]]:
        enter_scratch()
        for name in names:
            os.mkdir(name)
        for lower, file in zip(names, ("first", "second"), strict=False):
            os.close(os.open(lower + b"/" + file.encode(), os.O_CREAT))
        mount(b"overlay", b"merged", b"overlay", 0, overlay_data(names[:2], names[2], names[3]))
        open("merged/new", "w").close()
        return sorted(os.listdir("merged")), sorted(os.listdir(os.fsdecode(names[2])))

    assert in_namespaces(attempt) == (["first", "new", "second"], ["new"])


def test_lowers_are_topmost_first_and_read_only_without_an_upper() -> None:
    def attempt() -> tuple[str, int]:
        enter_scratch()
        for name in ("top", "bottom"):
            os.mkdir(name)
            with open(f"{name}/file", "w") as file:
                file.write(name)
        mount(b"overlay", b"merged", b"overlay", 0, overlay_data([b"top", b"bottom"], None, None))
        with pytest.raises(OSError, match="Read-only") as caught:
            os.mkdir("merged/new")
        with open("merged/file") as file:
            return file.read(), caught.value.errno or 0

    assert in_namespaces(attempt) == ("top", errno.EROFS)


def test_volatile_leaves_a_mark_in_the_work_directory() -> None:
    def attempt(volatile: bool) -> bool:
        enter_scratch()
        for name in ("lower", "upper", "work"):
            os.mkdir(name)
        data = overlay_data([b"lower"], b"upper", b"work", volatile=volatile)
        mount(b"overlay", b"merged", b"overlay", 0, data)
        return os.path.exists("work/work/incompat/volatile")

    assert in_namespaces(lambda: attempt(True))
    assert not in_namespaces(lambda: attempt(False))


def test_xino_shows_files_of_two_file_systems_as_of_one() -> None:
    def attempt() -> bool:
        enter_scratch()
        for name in ("lower", "upper"):
            os.mkdir(name)
            mount(b"tmpfs", name.encode(), b"tmpfs", 0, None)
        for name in ("upper/upper", "upper/work"):
            os.mkdir(name)
        open("lower/old", "w").close()
        data = overlay_data([b"lower"], b"upper/upper", b"upper/work", xino=True)
        mount(b"overlay", b"merged", b"overlay", 0, data)
        open("merged/new", "w").close()
        before = os.stat("merged/old")
        os.chmod("merged/old", 0o600)  # copied up
        after = os.stat("merged/old")
        new = os.stat("merged/new")
        assert (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino)
        return before.st_dev == new.st_dev

    assert in_namespaces(attempt)


def test_an_opaque_directory_is_marked_by_a_user_attribute() -> None:
    def attempt() -> bytes:
        enter_scratch()
        for name in ("lower", "lower/d", "upper", "work"):
            os.mkdir(name)
        open("lower/d/hidden", "w").close()
        mount(b"overlay", b"merged", b"overlay", 0, overlay_data([b"lower"], b"upper", b"work"))
        os.unlink("merged/d/hidden")
        os.rmdir("merged/d")
        os.mkdir("merged/d")
        return os.getxattr("upper/d", "user.overlay.opaque")

    assert in_namespaces(attempt) == b"y"


def test_127_layers_fit() -> None:
    def attempt() -> list[str]:
        enter_scratch()
        lowers = [b"%020d/tree" % number for number in range(127)]
        for number, lower in enumerate(lowers):
            os.makedirs(lower)
            os.close(os.open(lower + b"/%d" % number, os.O_CREAT))
        mount(b"overlay", b"merged", b"overlay", 0, overlay_data(lowers, None, None))
        return os.listdir("merged")

    assert len(in_namespaces(attempt)) == 127


@pytest.mark.parametrize("lowers", [[b"x" * 200] * 400, [b"x"] * 501])
def test_too_many_layers_are_one_clear_error(lowers: list[bytes]) -> None:
    with pytest.raises(KernelError, match=f"{len(lowers)} layers") as caught:
        overlay_data(lowers, None, None)
    assert caught.value.errno == errno.E2BIG
    assert "--overlay" in caught.value.hint


def test_the_longest_options_mount() -> None:
    """Sundog refuses one more byte.  The kernel would cut it off or fail with EINVAL."""

    def attempt() -> int:
        enter_scratch()
        limit = os.sysconf("SC_PAGE_SIZE") - 1
        os.mkdir("top")
        fixed = len(overlay_data([b"top", b""], None, None))
        deep = b"/".join([b"d" * 200] * (limit // 201 + 1))[: limit - fixed].rstrip(b"/")
        deep += b"d" * (limit - fixed - len(deep))
        here = os.open(".", os.O_RDONLY)
        for name in deep.split(b"/"):
            os.mkdir(name)
            os.chdir(name)
        open("file", "w").close()
        os.fchdir(here)
        data = overlay_data([b"top", deep], None, None)
        assert len(data) == limit
        mount(b"overlay", b"merged", b"overlay", 0, data)
        with pytest.raises(KernelError):
            overlay_data([b"top", deep + b"d"], None, None)
        return len(os.listdir("merged"))

    assert in_namespaces(attempt) == 1
