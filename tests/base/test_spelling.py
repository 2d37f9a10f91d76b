"""``spelling``: the word that a user probably meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.base.spelling import byte_count, edits, nearest

WORDS = st.text("ab-", max_size=6)


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("build", "build", 0),
        ("build", "biuld", 1),
        ("build", "bild", 1),
        ("build", "buildd", 1),
        ("build", "bxild", 1),
        ("kitten", "sitting", 3),
    ],
)
def test_edits(first: str, second: str, count: int) -> None:
    assert edits(first, second) == edits(second, first) == count


@given(WORDS, WORDS)
def test_edits_against_the_definition(first: str, second: str) -> None:
    def distance(a: str, b: str) -> int:
        if not a or not b:
            return len(a) + len(b)
        found = [
            distance(a[1:], b) + 1,
            distance(a, b[1:]) + 1,
            distance(a[1:], b[1:]) + (a[0] != b[0]),
        ]
        if len(a) > 1 and len(b) > 1 and a[0] == b[1] and a[1] == b[0]:
            found.append(distance(a[2:], b[2:]) + 1)
        return min(found)

    assert edits(first, second) == distance(first, second)


def test_nearest() -> None:
    known = ("build", "build-cache", "pull", "push")
    assert nearest("buidl", known) == "build"
    assert nearest("biuld-cahce", known) == "build-cache"
    assert nearest("puhs", known) == "push"
    assert nearest("run", known) == ""
    assert nearest("x" * 10**6, known) == ""
    assert nearest("-x", ["-h", "-s"]) == ""


def test_sizes() -> None:
    gib = 1 << 30
    good = {"50G": 50 * gib, "1.5T": 1536 * gib, "800m": 800 << 20, "0": 0, "7B": 7, "2KiB": 2048}
    assert {text: byte_count(text) for text in good} == good
    bad = (
        "",
        "G",
        "-1",
        "1.",
        ".5G",
        "5X",
        "1e3",
        "\u0661G",
        "5GG",
        "5iB5",
        "9" * 16,
        "1 G",
        "nan",
    )
    assert [byte_count(text) for text in bad] == [None] * len(bad)
