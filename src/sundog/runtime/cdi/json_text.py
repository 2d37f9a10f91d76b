"""JSON text to values, strictly and without the package ``json``.

That package takes two milliseconds, because it imports ``re``.  Its scanner in C needs neither.
Only a syntax error needs the package, for the place.

Specification: RFC 8259, where names within an object are unique.
"""

from __future__ import annotations

from sundog.base.cpython import make_scanner
from sundog.runtime.cdi.names import first_repeated, shortened

_JSON_BLANKS = " \t\n\r"


class JsonFault(Exception):
    """The text is not JSON; the message says why, and where."""


class _ScannerOptions:
    """Functions that the scanner in C calls; ``strict`` refuses control characters in strings."""

    strict = True
    object_hook = None
    parse_float = float
    parse_int = int

    @staticmethod
    def object_pairs_hook(pairs: list[tuple[str, object]]) -> dict[str, object]:
        """Return an object.  Raises JsonFault if two fields have one name."""
        value = dict(pairs)
        if len(value) < len(pairs):
            twice = first_repeated([name for name, _ in pairs])
            raise JsonFault(f"an object has two fields {shortened(twice)}")
        return value

    @staticmethod
    def parse_constant(word: str) -> object:
        """Refuse NaN, Infinity and -Infinity, which are not JSON."""
        raise JsonFault(f"{word} is not a number")


def parse_json_text(text: str) -> object:
    """Return the value of ``text``.  Raises JsonFault."""
    start = len(text) - len(text.lstrip(_JSON_BLANKS))
    try:
        value, end = make_scanner(_ScannerOptions)(text, start)  # type: ignore[arg-type]
    except RecursionError:
        raise JsonFault("nested too deeply") from None
    except (ValueError, StopIteration, SystemError):
        # Python 3.11 has no error before the package is imported: SystemError.
        raise JsonFault(_syntax_fault(text)) from None
    if text[end:].strip(_JSON_BLANKS):
        raise JsonFault(_syntax_fault(text))
    return value


def _syntax_fault(text: str) -> str:
    """Say where ``text`` stops being JSON."""
    import json  # noqa: PLC0415 - only for an error

    try:
        json.loads(text)
    except json.JSONDecodeError as fault:
        return f"line {fault.lineno}, column {fault.colno}: {fault.msg}"
    except ValueError as fault:  # a number of too many digits
        return str(fault)
    return "not JSON"
