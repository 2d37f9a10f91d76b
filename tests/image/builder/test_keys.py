"""``builder.keys``: equal values have equal keys, different values have different keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.image.builder.keys import cache_key, digest_of

if TYPE_CHECKING:
    from sundog.image.builder.keys import Field

VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.integers(),
        st.text(max_size=4),
        st.binary(max_size=4),
        st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=3),
    ),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


def canonical(value: Any) -> str:
    if isinstance(value, dict):
        return f"dict {sorted(value.items())}"
    if isinstance(value, list):
        return f"[{', '.join(map(canonical, value))}]"
    return repr(value)


@settings(database=None)
@given(VALUES, VALUES)
def test_digests_are_equal_only_for_equal_values(one: Field, other: Field) -> None:
    assert (digest_of(one) == digest_of(other)) == (canonical(one) == canonical(other))


def test_every_part_of_a_key_counts() -> None:
    keys = {
        cache_key("run", ("a", "b"), "x", "y"),
        cache_key("run", ("b", "a"), "x", "y"),
        cache_key("run", ("ab",), "x", "y"),
        cache_key("run", ("a",), "b", "x", "y"),
        cache_key("copy", ("a", "b"), "x", "y"),
        cache_key("run", ("a", "b"), "xy"),
        cache_key("run", ("a", "b"), "x", b"y"),
        cache_key("run", ("a", "b"), ("x", "y")),
    }
    assert len(keys) == 8


def test_order_of_variables_is_of_no_account() -> None:
    assert digest_of({"A": "1", "B": "2"}) == digest_of({"B": "2", "A": "1"})


def test_bytes_that_are_no_text_are_kept_apart() -> None:
    assert digest_of("\udcff") != digest_of("\udcfe")
