"""``builder.keys``: equal values have equal keys, different values have different keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.image.builder.keys import Stack, cache_key, digest_of, step_key

if TYPE_CHECKING:
    from sundog.image.builder.keys import Field, StepKey

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


def test_a_portable_key_has_other_names_for_layers() -> None:
    """The same step in two stores: the layers have other IDs, and the same diff IDs."""

    def named(stack: Stack) -> list[str]:
        return [f"sha256:{layer[-1]}" for layer in stack]

    def key(store: str, *, below: str = "a", mounted: str = "b", copied: str = "c") -> StepKey:
        mount = step_key("mounted", [store + mounted], "/path")
        return step_key("run", [store + below], "x", [mount], ("image", Stack([store + copied])))

    one, two = key("1"), key("2")
    assert [*map(list, one.stacks())] == [["1a"], ["1b"], ["1c"]]
    assert one.local != two.local
    assert one.portable(named, "linux/amd64") == two.portable(named, "linux/amd64")
    different = [
        key("2", below="d").portable(named, "linux/amd64"),
        key("2", mounted="d").portable(named, "linux/amd64"),
        key("2", copied="d").portable(named, "linux/amd64"),
        two.portable(named, "linux/arm64"),
        two.portable(lambda stack: stack, "linux/amd64"),
        step_key("run", ["2a"], "y").portable(named, "linux/amd64"),
        step_key("copy", ["2a"], "y").portable(named, "linux/amd64"),
        step_key("copy", ["2a"], "y").named(named),
        one.portable(named, "linux/amd64"),
    ]
    assert len(set(different)) == len(different)


def test_markers_for_layers_leave_local_keys_as_they_were() -> None:
    assert digest_of(Stack(["a", "b"])) == digest_of(("a", "b"))
    assert digest_of([step_key("run", ["a"], "x")]) == digest_of([cache_key("run", ["a"], "x")])


def test_order_of_variables_is_of_no_account() -> None:
    assert digest_of({"A": "1", "B": "2"}) == digest_of({"B": "2", "A": "1"})


def test_bytes_that_are_no_text_are_kept_apart() -> None:
    assert digest_of("\udcff") != digest_of("\udcfe")
