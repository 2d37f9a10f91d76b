"""The forms that ``WWW-Authenticate`` may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.image.registry.auth import Challenge, parse_challenges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="a, b"', [Challenge("basic", {"realm": "a, b"})]),
        (
            'Bearer realm="https://t.org/token",service="r",scope="repository:a/b:pull,push"',
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://t.org/token",
                        "service": "r",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        (
            'Negotiate, Basic realm="x", BEARER Realm="y" , service = z',
            [
                Challenge("negotiate", {}),
                Challenge("basic", {"realm": "x"}),
                Challenge("bearer", {"realm": "y", "service": "z"}),
            ],
        ),
        (r'Basic realm="a\"b\\c"', [Challenge("basic", {"realm": 'a"b\\c'})]),
        ("", []),
    ],
)
def test_challenges_are_read(header: str, expected: list[Challenge]) -> None:
    assert parse_challenges(header) == expected


@given(st.text(max_size=200))
def test_no_header_is_too_strange(header: str) -> None:
    parse_challenges(header)
