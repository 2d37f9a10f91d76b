"""The types of the configuration's values: what a user may write, and how it is read.

A value of any type is a tuple of bytes here: each text for itself, a truth as ``1`` or ``0``.
"""

from __future__ import annotations

from sundog.base.configuration.keys import JOURNAL, NO, NO_LOG, PROGRAM, SYSLOG, YES
from sundog.base.configuration.templates import is_template
from sundog.base.spelling import byte_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    _Values = tuple[bytes, ...]

_LIST_LIMIT = 100
_TEXT_LIMIT = 1000  # characters
_ACCOUNT_LIMIT = 256  # characters: useradd(8)
_DIGITS = "0123456789"
_UNITS = ("", "k", "m", "g", "t", "%")  # tmpfs(5)
_SIZE_DIGITS = 15
_PER_CENT_LIMIT = 100
_DAYS_LIMIT = 36500


class _Kind:
    """A type of values.

    words    what a user is told to write
    read     returns the values of a value of TOML, or None if it is of another type
    is_list  whether it is a list, and otherwise one value; a variable has colons in a list
    """

    __slots__ = ("is_list", "read", "words")

    def __init__(
        self, words: str, read: Callable[[object], _Values | None], *, is_list: bool = False
    ) -> None:
        self.words = words
        self.read = read
        self.is_list = is_list


def _listed(words: str, is_item: Callable[[str], bool], *, or_one: bool = False) -> _Kind:
    """Return the type of a list; ``or_one``: a text stands for the list with it alone."""

    def read(value: object) -> _Values | None:
        if or_one and isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or len(value) > _LIST_LIMIT:
            return None
        if not all(isinstance(item, str) and _is_text(item) and is_item(item) for item in value):
            return None
        return tuple(map(_encoded, value))

    return _Kind(words, read, is_list=True)


def _single(words: str, is_value: Callable[[str], bool]) -> _Kind:
    """Return the type of a text."""

    def read(value: object) -> _Values | None:
        if not isinstance(value, str) or not _is_text(value) or not is_value(value):
            return None
        return (_encoded(value),)

    return _Kind(words, read)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _is_text(text: str) -> bool:
    return "\0" not in text


def _is_path(text: str) -> bool:
    return text.startswith("/")


def _is_bind(text: str) -> bool:
    """Tell whether a text is SRC[:DST[:ro]], both absolute or beginning with a variable."""
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    places = [source, *([target] if rest else [])]
    return (
        all(is_template(_encoded(place)) and place.strip("/.") for place in places)
        and text.count(":") < 3
        and not text.endswith(":")
        and mode in ("", "ro", "rw")
    )


def _is_mirror(text: str) -> bool:
    """Tell whether a text is PREFIX=LOCATION; who reads the addresses says more of them."""
    places = text.split("=")
    return len(places) == 2 and all(
        place.isascii() and _is_word(place) and "//" not in f"/{place}/" and "*" not in place
        for place in places
    )


def _is_size(text: str) -> bool:
    """Tell whether a text is a size of tmpfs(5), of which something is left."""
    digits = text.rstrip("kmgtKMGT%")
    unit = text[len(digits) :].lower()
    if not digits or len(digits) > _SIZE_DIGITS or digits.strip(_DIGITS) or unit not in _UNITS:
        return False
    return int(digits) > 0 and (unit != "%" or int(digits) <= _PER_CENT_LIMIT)


def _is_line(text: str) -> bool:
    return 0 < len(text) <= _TEXT_LIMIT and text.isprintable()


def _is_word(text: str) -> bool:
    return 0 < len(text) <= _TEXT_LIMIT and text.isprintable() and " " not in text


def _is_profile(text: str) -> bool:
    return _is_line(text) and ("/" not in text or _is_path(text))


def _is_log(text: str) -> bool:
    command = text.removeprefix(PROGRAM.decode())
    if command != text:
        return _is_line(command) and _is_path(command) and not command.split()[0].endswith("/")
    return _is_path(text) or _encoded(text) in (SYSLOG, JOURNAL, NO_LOG)


def _truth(value: object) -> _Values | None:
    if not isinstance(value, bool):
        return None
    return YES if value else NO


def _days(value: object) -> _Values | None:
    if type(value) is not int or not 0 <= value <= _DAYS_LIMIT:
        return None
    return (b"%d" % value,)


KINDS = {
    "paths": _listed(f"a list of at most {_LIST_LIMIT} absolute paths", _is_path),
    "directories": _listed(
        f"a list of at most {_LIST_LIMIT} absolute paths, without colons",
        lambda text: _is_path(text) and ":" not in text,
    ),
    "accounts": _listed(
        f"a list of at most {_LIST_LIMIT} names of accounts, or IDs as strings",
        lambda text: 0 < len(text) <= _ACCOUNT_LIMIT,
    ),
    "places": _listed(
        f"an absolute path or a list of at most {_LIST_LIMIT}, with %u, %U, $VARIABLE",
        lambda text: is_template(_encoded(text)),
        or_one=True,
    ),
    "place": _single(
        "an absolute path, with %u, %U, $VARIABLE", lambda text: is_template(_encoded(text))
    ),
    "binds": _listed(
        f"a list of at most {_LIST_LIMIT} SRC[:DST[:ro]], with absolute paths", _is_bind
    ),
    "mirrors": _listed(f"a list of at most {_LIST_LIMIT} PREFIX=HOST[:PORT][/PATH]", _is_mirror),
    "options": _listed(
        f"a list of at most {_LIST_LIMIT} words: options and their values", lambda _: True
    ),
    "tmpfs": _listed(
        f"a list of at most {_LIST_LIMIT} DIR[:OPTIONS], with absolute paths", _is_path
    ),
    "size": _single("a size as of tmpfs(5), such as 40m, 2g or 12%", _is_size),
    "text": _single(f"one line of at most {_TEXT_LIMIT} characters", _is_line),
    "word": _single("a word", _is_word),
    "profile": _single("a name, or an absolute path", _is_profile),
    "log": _single(
        "syslog, journal, none, the absolute path of a file, or a vertical bar and a program's",
        _is_log,
    ),
    "days": _Kind(f"a number of days, from 0 to {_DAYS_LIMIT}", _days),
    "bytes": _single(
        "a size such as 50G or 1.5T, in powers of 1024", lambda text: byte_count(text) is not None
    ),
    "boolean": _Kind("true or false", _truth),
}
