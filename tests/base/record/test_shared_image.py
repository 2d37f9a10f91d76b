"""The file of an image in a shared store."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sundog.base.record.shared_image import is_layer_id, pack_shared, unpack_shared
from sundog.base.record.stack import ImageStack
from sundog.errors import StoreError

LAYERS = [b"0123456789abcdef0123", b"f" * 20]
WORDS = st.binary(max_size=5).filter(lambda word: b"\0" not in word)


@given(st.lists(WORDS, max_size=3), WORDS, st.binary(max_size=20))
def test_it_comes_back(command: list[bytes], user: bytes, documents: bytes) -> None:
    stack = ImageStack(LAYERS, b"", [], command, b"/", user=user, has_files=True)
    found, rest = unpack_shared(pack_shared(stack, documents), "shown")
    assert (found.layers, found.command, found.user, found.has_files, rest) == (
        *(LAYERS, command, user, True),
        documents,
    )


WHOLE = pack_shared(ImageStack(LAYERS, has_files=True), b"{}")


def test_no_cut_of_its_head_is_an_image() -> None:
    for size in range(len(WHOLE) - 2):
        with pytest.raises(StoreError, match="damaged image in a shared store: shown"):
            unpack_shared(WHOLE[:size], "shown")


@given(st.binary(max_size=40), st.integers(0, len(WHOLE)))
@example(b"sundog shared image 1\n99999999999999999999\nx", 0)
@example(b"sundog shared image 1\n\xb2\nx", 0)
def test_anything_else_is_one_error(data: bytes, at: int) -> None:
    """Layers are never anything but IDs: they become parts of paths."""
    for tried in (data, WHOLE[:at] + data + WHOLE[at:], WHOLE[:at] + data):
        try:
            stack, _ = unpack_shared(tried, "shown")
        except StoreError:
            continue
        assert stack.layers
        assert all(map(is_layer_id, stack.layers))


@pytest.mark.parametrize(
    "layer", [b"", b"..", b"../../etc/passwd/xxxx", b"0123456789abcdef012", b"0123456789ABCDEF0123"]
)
def test_a_layer_is_no_path(layer: bytes) -> None:
    assert not is_layer_id(layer)
    data = pack_shared(ImageStack([*LAYERS, layer], has_files=True), b"{}")
    with pytest.raises(StoreError, match="no layers"):
        unpack_shared(data, "shown")
