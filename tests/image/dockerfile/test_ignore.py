"""``dockerfile.ignore``: compared with the builders' own matcher, and with brute force."""

from __future__ import annotations

import json
import lzma
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.image.dockerfile.ignore import PathPatterns, read_ignore_file
from sundog.image.dockerfile.wildcard import PatternError

# ignore/oracle.go recorded this.
CASES = Path(__file__).parent / "ignore" / "cases.json.xz"


def test_like_the_builders() -> None:
    cases = [json.loads(line) for line in lzma.decompress(CASES.read_bytes()).splitlines()]
    assert len(cases) > 1000
    for case in cases:
        paths = [*case["ignored"], *case["kept"]]
        try:
            patterns = PathPatterns(read_ignore_file(case["text"].encode()))
        except PatternError:
            assert case["error"], case
            continue
        assert not case["error"], case
        assert [path for path in paths if patterns.match(path)] == case["ignored"], case


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"\xef\xbb\xbf# not a name\na\n", ["a"]),
        (b"a\r\n\r\n  b  \n", ["a", "b"]),
        (b" #a\n", ["#a"]),
        (b"/a/../b/./c/\n", ["b/c"]),
        (b"! /a/\n", ["!a"]),
        (b"..//a\n", ["../a"]),
        (b"//a\n", ["a"]),
        (b"!\n", ["!"]),
        (b"\xff\n", ["\udcff"]),
    ],
)
def test_reading(text: bytes, expected: list[str]) -> None:
    assert read_ignore_file(text) == expected


@pytest.mark.parametrize("text", ["!", "! ", "[", "a[", "b\\", "[]a]"])
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(PatternError):
        PathPatterns(read_ignore_file(text.encode()))


# Brute force: match each component by itself, and try every number of components for **.

NAMES = ["a", "b", "ab", ".c", "x.md"]
COMPONENTS = [*NAMES, "*", "?", "a*", "*.md", "[ab]", "[^a]", "**"]


def matches(pattern: list[str], names: list[str]) -> bool:
    if not pattern:
        return not names
    head, *rest = pattern
    if head == "**":
        if not rest:
            return bool(names)
        return any(matches(rest, names[skipped:]) for skipped in range(len(names)))
    return bool(names) and one_matches(head, names[0]) and matches(rest, names[1:])


def one_matches(pattern: str, name: str) -> bool:
    translated = "".join(
        {"*": ".*", "?": ".", "[": "[", "]": "]", "^": "^"}.get(char, re.escape(char))
        for char in pattern
    )
    return bool(re.fullmatch(translated, name))


def verdict(lines: list[tuple[bool, list[str]]], names: list[str]) -> bool:
    ignored = False
    for is_exception, pattern in lines:
        if any(matches(pattern, names[:length]) for length in range(1, len(names) + 1)):
            ignored = not is_exception
    return ignored


LINES = st.lists(
    st.tuples(st.booleans(), st.lists(st.sampled_from(COMPONENTS), min_size=1, max_size=4)),
    max_size=5,
)
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=5)


def patterns_of(lines: list[tuple[bool, list[str]]]) -> PathPatterns:
    texts = [("!" if is_exception else "") + "/".join(pattern) for is_exception, pattern in lines]
    return PathPatterns(read_ignore_file("\n".join(texts).encode()))


@given(LINES, PATHS)
def test_like_the_brute_force_reading(lines: list[tuple[bool, list[str]]], path: list[str]) -> None:
    assert patterns_of(lines).match("/".join(path)) == verdict(lines, path)


@given(LINES, PATHS, PATHS)
def test_what_is_left_out_below_a_directory(
    lines: list[tuple[bool, list[str]]], directory: list[str], below: list[str]
) -> None:
    """A program that walks a tree may leave out a directory without losing a file."""
    patterns = patterns_of(lines)
    top, path = "/".join(directory), "/".join([*directory, *below])
    if patterns.match(top) and not patterns.may_except_below(top):
        assert patterns.match(path)
    if not patterns.match(top) and not patterns.may_match_below(top):
        assert not patterns.match(path)
