"""Errors that cross from one process to another."""

from __future__ import annotations

import pytest

from sundog.base.wire.outcomes import pack_exception, unpack_outcome
from sundog.base.wire.values import pack_value
from sundog.errors import ADMINISTRATOR, ORDINARY_USER, Hint, KernelError, SundogError


@pytest.mark.parametrize(
    "hint",
    [
        Hint("wait", ADMINISTRATOR, "mend it"),
        Hint("", ADMINISTRATOR, "mend it"),
        Hint("ask somebody", ADMINISTRATOR),
        Hint("for a GPU", command="make one"),
        "do without",
        "",
    ],
)
def test_hints_cross_with_their_facts(hint: str) -> None:
    """The other process knows who shall do what, and reads nothing out of the text."""
    with pytest.raises(KernelError) as caught:
        unpack_outcome(pack_exception(KernelError("mount", "/x", 1, "no", hint)))
    expected = hint if isinstance(hint, Hint) else Hint(hint, ORDINARY_USER)
    crossed = caught.value.hint
    assert crossed == expected
    for fact in Hint.__slots__:
        assert getattr(crossed, fact) == getattr(expected, fact)


@pytest.mark.parametrize("hint", [("one", "two"), ("one", "two", 3), None, b"bytes"])
def test_other_values_are_no_hint(hint: object) -> None:
    attributes = {"message": "no", "hint": hint}
    with pytest.raises(ValueError, match="malformed answer"):
        unpack_outcome(pack_value(("failed", ("SundogError", attributes))))


def test_texts_of_hints() -> None:
    """The text has the command, as before there were facts."""
    assert SundogError("x", Hint("a", ADMINISTRATOR, "c")).hint == "a; ask the administrator for: c"
    assert Hint("", ADMINISTRATOR, "c") == "ask the administrator for: c"
    assert Hint("a", command="c") == "a: c"
