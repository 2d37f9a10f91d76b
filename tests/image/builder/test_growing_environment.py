"""Thousands of ENV: each costs what it adds, and the result is that of one look at all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sundog.image.builder.growing_environment import GrowingEnvironment
from sundog.image.oci.config import ImageConfig

NAMES = st.sampled_from(["A", "B", "AB", "C"])


class Entry(str):
    """An entry that counts how often it is taken apart."""

    __slots__ = ()
    looks = 0

    def partition(self, separator: str, /) -> tuple[str, str, str]:
        Entry.looks += 1
        return super().partition(separator)


@given(st.lists(st.tuples(NAMES, st.text(max_size=3)), max_size=12))
def test_it_is_the_environment_of_the_configuration(pairs: list[tuple[str, str]]) -> None:
    config, growing = ImageConfig(), GrowingEnvironment()
    expected: dict[str, str] = {}
    for name, value in pairs:
        config = config.with_env(name, value)
        expected[name] = value
        assert growing.variables(config.env) == config.environment == expected
        assert list(config.environment) == list(expected)
        assert growing.digest(config.env) == GrowingEnvironment().digest(config.env)


def test_the_digest_tells_entries_apart() -> None:
    texts: list[tuple[str, ...]] = [(), ("",), ("A=1",), ("A=1", "B=2"), ("A=1B=2",)]
    texts += [("B=2", "A=1"), ("A=1", "")]
    assert len({GrowingEnvironment().digest(entries) for entries in texts}) == len(texts)


def test_each_entry_is_looked_at_once() -> None:
    growing = GrowingEnvironment()
    entries: tuple[str, ...] = ()
    Entry.looks = 0
    for number in range(100):
        entries = (*entries, Entry(f"V{number}=x"))
        growing.variables(entries)
        growing.digest(entries)
    assert Entry.looks == 100
