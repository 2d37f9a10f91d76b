"""``dockerfile.globs``: the results of backtracking without its cost.  Steps are counted."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sundog.errors import SubstitutionError
from sundog.image.dockerfile import globs, words
from sundog.image.dockerfile.globs import Automaton, CharacterClass, Many
from sundog.image.dockerfile.ignore import PathPatterns
from sundog.image.dockerfile.modifiers import VALUE_LIMIT
from sundog.image.dockerfile.wildcard import PatternError, compiled
from sundog.image.dockerfile.words import expand
from tests.image.dockerfile import old_patterns

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

MANY = settings(max_examples=400, deadline=None)

# Classes that match a slash, classes that match nothing, stars beside each other.
GO_PIECES = st.sampled_from(
    ["a", "b", "*", "?", "/", "**", "**/", "[ab]", "[^a]", "[^/]", "[b-a]", "[^b-a]", "\\*", "\n"]
)
GO_PATTERNS = st.lists(GO_PIECES, min_size=1, max_size=8).map("".join)
PATHS = st.text("ab*/\n", max_size=10)


@MANY
@given(GO_PATTERNS, PATHS)
@example("*[^a]*b", "x/b")
@example("a*b?c*x", "abxbbxdbxebxczzx")
def test_go_patterns_match_what_they_did(pattern: str, name: str) -> None:
    expected = re.compile(old_patterns.go_expression(pattern), re.DOTALL).fullmatch(name)
    assert compiled(pattern).matches(name) == bool(expected)


@MANY
@given(st.lists(st.tuples(st.booleans(), GO_PATTERNS), max_size=5), PATHS)
@example([(False, "**b/**/a")], "a/b/a/a")
@example([(False, "a/**"), (True, "a/b*")], "a/bb/c")
def test_ignore_files_say_what_they_did(lines: list[tuple[bool, str]], path: str) -> None:
    cleaned = [(is_exception, pattern) for is_exception, pattern in lines if pattern.strip()]
    texts = [("!" if is_exception else "") + pattern for is_exception, pattern in cleaned]
    try:
        patterns = PathPatterns(texts)
    except PatternError:  # cleaning leaves nothing of it
        return
    expected = False
    for parsed in patterns._all:
        old = old_patterns.ignore_expression(parsed.text)
        if re.compile(f"(?:{old})(?:/.*)?", re.DOTALL).fullmatch(path):
            expected = not parsed.is_exception
    assert patterns.match(path) == expected


VALUES = st.text("ab*\n", max_size=10)
SH_PATTERNS = st.text("ab*?\n", max_size=7)


@MANY
@given(VALUES, SH_PATTERNS, st.sampled_from("#%"), st.booleans())
@example("abab", "*b*a", "#", True)
@example("a\nba\nb", "a*\n*b", "%", False)
def test_prefixes_and_suffixes_go_as_they_did(
    value: str, pattern: str, operator: str, longest: bool
) -> None:
    word = operator * longest + pattern
    old = old_patterns.without_prefix if operator == "#" else old_patterns.without_suffix
    if word.startswith(operator) == longest:
        assert expand(f"${{A{operator}{word}}}", {"A": value}) == old(value, word)


@MANY
@given(VALUES, SH_PATTERNS, st.booleans())
@example("a*b\nab", "*", True)
@example("aab", "", True)
def test_what_matches_is_replaced_as_it_was(value: str, pattern: str, everywhere: bool) -> None:
    everywhere |= not pattern  # ${A//x} says so
    text = f"${{A/{'/' * everywhere}{pattern}/<>}}"
    expected = old_patterns.substituted(value, pattern, "<>", everywhere=everywhere)
    assert expand(text, {"A": value}) == expected


def counted(function: Callable[[], object]) -> int:
    """Return how many lines of ``dockerfile.globs`` a call runs.  Each is a few instructions."""
    lines = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != globs.__file__:
            return None
        lines += event == "line"
        return trace

    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(None)
    return lines


def stars(count: int) -> str:
    return "a*" * count + "b"


# These took exponential time: functions of their size; patterns and texts grow together.
EXPONENTIAL: dict[str, Callable[[int], object]] = {
    "COPY": lambda size: compiled(stars(size)).matches("a" * size * 2),
    "COPY with classes": lambda size: compiled("*[a-c]?*" * size + "d").matches("a" * size * 4),
    "ignore file": lambda size: PathPatterns(["**/a*" * size + "b"]).match("a/" * size * 2),
    "ignore file of many lines": lambda size: PathPatterns([f"**/{stars(9)}"] * size).match(
        "a" * size * 9
    ),
    "only separators": lambda size: PathPatterns(["**/" * size + "b"]).match("a/" * size * 2),
    "shortest prefix": lambda size: expand(f"${{A#{stars(size)}}}", {"A": "a" * size * 2}),
    "longest prefix": lambda size: expand(f"${{A##{stars(size)}}}", {"A": "a" * size * 2}),
    "shortest suffix": lambda size: expand(f"${{A%b{stars(size)}}}", {"A": "a" * size * 2}),
    "longest suffix": lambda size: expand(f"${{A%%b{stars(size)}}}", {"A": "a" * size * 2}),
    "first match": lambda size: expand(f"${{A/{stars(size)}/x}}", {"A": "a" * size * 2}),
    "all matches": lambda size: expand(f"${{A//{stars(size)}/x}}", {"A": "ab" * size}),
    "no match of many": lambda size: expand("${A//a*b/x}", {"A": "a" * size * 9}),
    "empty matches": lambda size: expand("${A//*/x}", {"A": "\n" * size}),
}


@pytest.mark.parametrize("what", EXPONENTIAL)
def test_steps_grow_with_pattern_and_text_and_not_faster(what: str) -> None:
    """Twice the size takes at most twice the steps; each step looks at each token at most once."""
    function = EXPONENTIAL[what]
    small, large = (counted(lambda size=size: function(size)) for size in (100, 200))  # type: ignore[misc]
    assert small > 100
    assert large <= 2.2 * small
    assert large < 500 * 200  # and a step takes few lines


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each character leads to a new state: the automaton forgets, and gives the same result."""
    monkeypatch.setattr(globs, "_REMEMBERED", 1 << 12)
    pattern: list[globs.Token] = [
        Many.STAR,
        "a",
        *[CharacterClass((("b", "b"),), negated=True)] * 12,
    ]
    text = ("aacab" * 7 + "ccab") * 50
    automaton = Automaton([pattern], "/")
    remembered = 0
    for end in range(len(text)):
        expected = text[max(0, end - 13) : end]
        found = automaton.matches(text[:end])
        assert found == (len(expected) == 13 and expected[0] == "a" and "b" not in expected[1:])
        size = sum(len(state) + 1 for state in automaton._states.values())
        remembered = max(remembered, size)
    assert 8 < remembered < 60


def test_a_value_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    half = "x" * (VALUE_LIMIT // 2)
    assert len(expand("$A$A", {"A": half})) == VALUE_LIMIT
    monkeypatch.setattr(words, "VALUE_LIMIT", 1 << 12)
    half = "x" * (1 << 11)
    for text in (
        "$A${A}b$A",
        '"$A$A$A"',
        "${B:-$A$A$A}",
        "${A//?/xx}$A",
        "'$A'$A$A$A",
        "${A//x/$A}",
    ):
        with pytest.raises(SubstitutionError, match="substitution gives more than"):
            expand(text, {"A": half})


def test_a_pattern_is_bounded() -> None:
    with pytest.raises(SubstitutionError, match="longer than 16384 characters"):
        expand("${A#$B}", {"A": "a", "B": "b" * 16385})
