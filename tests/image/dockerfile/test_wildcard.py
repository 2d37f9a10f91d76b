"""``dockerfile.wildcard`` against the documented behaviour of Go's filepath.Match."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.image.dockerfile.wildcard import (
    PatternError,
    compiled,
    has_wildcard,
    literal_pattern,
    without_escapes,
)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("abc", "abc", True),
        ("*", "abc", True),
        ("*", ".hidden", True),
        ("*", "", True),
        ("*c", "abc", True),
        ("a*", "a", True),
        ("a*b?c*x", "abxbbxdbxebxczzx", True),
        ("a*b?c*x", "abxbbxdbxebxczzy", False),
        ("a?c", "a\nc", True),
        ("a?b", "a☺b", True),
        ("a??b", "a☺b", False),
        ("ab[c]", "abc", True),
        ("ab[b-d]", "abc", True),
        ("ab[e-g]", "abc", False),
        ("ab[^c]", "abc", False),
        ("ab[^e-g]", "abc", True),
        ("[!a]", "!", True),
        ("[!a]", "b", False),
        ("a\\*b", "a*b", True),
        ("a\\*b", "ab", False),
        ("[\\]a]", "]", True),
        ("[\\-x]", "-", True),
        ("[x\\-]", "x", True),
        ("[z-a]", "z", False),
        ("[^z-a]", "z", True),
        ("a.c", "abc", False),
        ("a{b,c}", "ab", False),
        ("\udcff*", "\udcffx", True),
    ],
)
def test_match(pattern: str, name: str, matches: bool) -> None:
    assert compiled(pattern).matches(name) == matches


@pytest.mark.parametrize(
    "pattern", ["[]a]", "[a-b-d]", "[-]", "[x-]", "[-x]", "[", "[^", "[a", "a\\", "[a-", "[\\"]
)
def test_malformed_pattern(pattern: str) -> None:
    with pytest.raises(PatternError, match="malformed pattern"):
        compiled(pattern)


@pytest.mark.parametrize(
    ("text", "is_pattern"),
    [("a*", True), ("a?", True), ("a[b", True), ("a\\*", False), ("a\\\\*", True), ("a]", False)],
)
def test_wildcard_is_unescaped(text: str, is_pattern: bool) -> None:
    assert has_wildcard(text) == is_pattern


def test_name_without_wildcards() -> None:
    assert without_escapes("a\\*b\\\\") == "a*b\\"


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_literal_pattern_matches_its_text_alone(text: str, other: str) -> None:
    text, other = text.replace("/", ""), other.replace("/", "")
    pattern = literal_pattern(text)
    assert without_escapes(pattern) == text
    assert not has_wildcard(pattern)
    assert compiled(pattern).matches(text)
    assert compiled(pattern).matches(other) is (other == text)
