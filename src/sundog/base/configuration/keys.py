"""The keys of the configuration: each with its type, its variable and its option.

This table is the one place that knows them.  The reader of the files, ``sundog config`` and the
manual page take the keys from here.
"""

from __future__ import annotations

from sundog.base.record.settings import STORES_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class _Kind:
    """A type of values.  ``words`` is what a user is told to write."""

    __slots__ = ("read", "words")

    def __init__(self, words: str, read: Callable[[object], tuple[bytes, ...] | None]) -> None:
        """``read`` returns the values of a value of TOML, or None if it is of another type."""
        self.words = words
        self.read = read


def _paths(value: object) -> tuple[bytes, ...] | None:
    """Read a list of absolute paths."""
    paths = _strings(value)
    if paths is None or not all(path.startswith(b"/") for path in paths):
        return None
    return paths


def _accounts(value: object) -> tuple[bytes, ...] | None:
    """Read a list of names of accounts, or of their IDs."""
    accounts = _strings(value)
    return None if accounts is None or b"" in accounts else accounts


def _strings(value: object) -> tuple[bytes, ...] | None:
    if not isinstance(value, list) or len(value) > _LIST_LIMIT:
        return None
    if not all(isinstance(item, str) and "\0" not in item for item in value):
        return None
    return tuple(item.encode("utf-8", "surrogateescape") for item in value)


_LIST_LIMIT = 100
_PATHS = _Kind(f"a list of at most {_LIST_LIMIT} absolute paths", _paths)
_ACCOUNTS = _Kind(
    f"a list of at most {_LIST_LIMIT} names of accounts, or IDs as strings", _accounts
)


class Key:
    """A key.

    section, name  its table in the file, and its name there
    variable       the variable of the environment that replaces the files' value, or ""
    option         the option that comes before both, or ""
    adds_up        whether a later file adds to an earlier one; otherwise it replaces it
    purpose        what it is for, for people
    """

    __slots__ = ("adds_up", "kind", "name", "option", "purpose", "section", "variable")

    def __init__(
        self,
        section: str,
        name: str,
        kind: _Kind,
        purpose: str,
        *,
        variable: str = "",
        option: str = "",
        adds_up: bool = False,
    ) -> None:
        self.section = section
        self.name = name
        self.kind = kind
        self.purpose = purpose
        self.variable = variable
        self.option = option
        self.adds_up = adds_up

    @property
    def path(self) -> str:
        """The section and the name, with a dot between them."""
        return f"{self.section}.{self.name}"


IMAGE_STORES = Key(
    *("storage", "image_stores", _PATHS),
    "directories in which images are looked for, after the user's own storage",
    variable=STORES_VARIABLE.decode(),
    option="--image-store",
)
TRUSTED_OWNERS = Key(
    *("storage", "trusted_owners", _ACCOUNTS),
    "accounts, besides root and the user, to which such a directory may belong",
    adds_up=True,
)

KEYS = (IMAGE_STORES, TRUSTED_OWNERS)
