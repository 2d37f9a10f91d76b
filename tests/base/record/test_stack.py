"""The stack file: it keeps any bytes, and the reader refuses any other file."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.base.record.stack import ImageStack, pack_stack, read_stack, unpack_stack
from sundog.errors import StoreError

_field = st.binary(max_size=8).map(lambda data: data.replace(b"\0", b""))
_fields = st.lists(_field, max_size=4)


def fields(stack: ImageStack) -> list[object]:
    return [getattr(stack, name) for name in ImageStack.__slots__]


_stacks = st.builds(
    ImageStack, _fields, _field, _fields, _fields, _field, user=_field, guesses=_field
)


@given(_stacks)
def test_stack_round_trip(stack: ImageStack) -> None:
    assert fields(unpack_stack(pack_stack(stack))) == fields(stack)


@given(st.binary())
def test_stack_of_foreign_bytes_is_refused(data: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        unpack_stack(data)


@given(_stacks, st.data())
def test_cut_stack_is_refused(stack: ImageStack, data: st.DataObject) -> None:
    packed = pack_stack(stack)
    size = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises((ValueError, IndexError)):
        unpack_stack(packed[:size])


def test_a_stack_without_marks_is_one_that_earlier_versions_read() -> None:
    assert pack_stack(ImageStack([b"top"])).startswith(b"sundog-stack 2\0")
    assert pack_stack(ImageStack([b"top"], guesses=b"g")).startswith(b"sundog-stack 3\0")


def test_a_stack_of_version_1_has_no_user() -> None:
    stack = unpack_stack(b"sundog-stack 1\0tree\0/w\x001\0top\x000\x001\0sh\0")
    assert fields(stack) == fields(ImageStack([b"top"], b"tree", [], [b"sh"], b"/w"))


def test_nul_in_command_is_refused_with_the_field() -> None:
    with pytest.raises(StoreError, match=r"NUL byte in .* 'a\\x00b'"):
        pack_stack(ImageStack([], command=[b"a\0b"]))


def test_read_stack_below_a_directory(tmp_path: Path) -> None:
    stack = ImageStack([b"top", b"bottom"], command=[b"", b"\xff"], workdir=b"/w")
    (tmp_path / "stack").write_bytes(pack_stack(stack))
    dirfd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert fields(read_stack(dirfd)) == fields(stack)
        (tmp_path / "stack").write_bytes(b"sundog-stack 2\0")
        with pytest.raises(StoreError, match="damaged image in storage: stack: "):
            read_stack(dirfd)
        (tmp_path / "stack").unlink()
        with pytest.raises(FileNotFoundError):
            read_stack(dirfd)
    finally:
        os.close(dirfd)
