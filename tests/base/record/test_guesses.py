"""The list of files whose owners nobody saw: marks count for what is below them."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from sundog.base.record.guesses import (
    GUESSES_LIMIT,
    GUESSES_MAGIC,
    LOST_GUESSES,
    OWNERS_GUESSED,
    OWNERS_KNOWN,
    OWNERS_LISTED,
    guesses_of,
    open_guesses,
    pack_guesses,
    unpack_guesses,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_path = st.lists(st.sampled_from([b"a", b"b", b"c\n", b"+"]), max_size=4).map(b"/".join)


@given(st.dictionaries(_path, st.booleans()), _path)
def test_the_nearest_mark_above_counts(marks: dict[bytes, bool], path: bytes) -> None:
    above = [mark for mark in marks if mark == path or not mark or path.startswith(mark + b"/")]
    expected = marks[max(above, key=len)] if above else False
    assert unpack_guesses(pack_guesses(marks)).has(path) is expected
    assert not unpack_guesses(pack_guesses(marks)).is_lost


def test_a_list_that_nobody_would_read_is_lost() -> None:
    assert pack_guesses({b"x" * GUESSES_LIMIT: True}) == LOST_GUESSES


@given(st.binary())
def test_anything_else_has_no_marks(data: bytes) -> None:
    for text in (data, GUESSES_MAGIC + data):
        found = unpack_guesses(text)
        assert found.is_lost is (text == LOST_GUESSES)
        if not text.startswith(GUESSES_MAGIC) or not text.endswith(b"\0"):
            assert not found.has(b"")


def test_what_an_image_has_in_its_place(tmp_path: Path) -> None:
    """A link out of the image, a FIFO and a directory count as no list, and nothing waits."""
    tree = os.fsencode(tmp_path / "tree")
    (tmp_path / "tree" / "ch").mkdir(parents=True)
    (tmp_path / "list").write_bytes(pack_guesses({b"x": True}))
    place = tmp_path / "tree" / "ch" / "guessed"
    assert open_guesses(tree) == -1
    makers: list[Callable[[], None]] = [
        lambda: place.symlink_to(tmp_path / "list"),
        lambda: os.mkfifo(place),
    ]
    for make in makers:
        make()
        assert open_guesses(tree) == -1
        assert guesses_of(tree, OWNERS_LISTED) is None
        place.unlink()
    place.mkdir()
    assert open_guesses(tree) == -1
    place.rmdir()
    place.write_bytes(pack_guesses({b"x": True, b"x/y": False}))
    found = guesses_of(tree, OWNERS_LISTED)
    assert found is not None
    assert [found.has(path) for path in (b"", b"x", b"x/z", b"x/y/z")] == [False, True, True, False]
    assert guesses_of(tree, OWNERS_KNOWN) is None
    whole = guesses_of(tree, OWNERS_GUESSED)
    assert whole is not None
    assert whole.has(b"any")
