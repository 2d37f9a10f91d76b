"""JSON objects to objects of ours, by tables of their fields.

A misfit is reported with its place: "mounts 2: hostPath: expected text, found a number".

Field names are compared as the programs do that read CDI files today: upper and lower case are the
same.
"""

from __future__ import annotations

from sundog.base.spelling import nearest, value_kind
from sundog.runtime.cdi.names import shortened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # Checks a value of a file that has a version, and returns what it means.
    _ReadValue = Callable[[object, int], Any]

# The versions of the specification; a version is an index of this list.
CDI_VERSIONS = ("0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
VERSION_0_4, VERSION_0_5, VERSION_0_6, VERSION_0_7 = 1, 2, 3, 4
VERSION_1_1 = 7

INT64_MAX = (1 << 63) - 1
UINT32_MAX = (1 << 32) - 1


class Misfit(Exception):
    """A value is not what the specification demands; the message says where and why."""

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.hint = hint

    def within(self, place: str) -> Misfit:
        """Return the same misfit, seen from one level above."""
        return Misfit(f"{place}: {self}", self.hint)


class CdiField:
    """A field of an object.

    argument  the argument of ``make`` that it becomes; "" if nothing uses it
    read      checks the value
    since     the version that brought it
    before    the version that dropped it
    """

    __slots__ = ("argument", "before", "read", "since")

    def __init__(
        self, argument: str, read: _ReadValue, since: int = 0, before: int = len(CDI_VERSIONS)
    ) -> None:
        self.argument = argument
        self.read = read
        self.since = since
        self.before = before


class Shape:
    """The fields of an object, by their names in JSON; ``make`` makes our object of them."""

    __slots__ = ("fields", "lower", "make", "required")

    def __init__(
        self, make: Callable[..., Any], fields: dict[str, CdiField], required: tuple[str, ...]
    ) -> None:
        self.make = make
        self.fields = fields
        self.required = required
        self.lower = {name.lower(): name for name in fields}

    def read(self, value: object, version: int, **more: object) -> Any:
        """Return our object for a JSON object; ``make`` gets ``more``, too.  Raises Misfit."""
        if type(value) is not dict:
            raise expected("an object", value)
        arguments: dict[str, Any] = {}
        seen: set[str] = set()
        for key, item in value.items():
            name = key if key in self.fields else self.known_name(key)
            if name in seen:
                raise Misfit(f"the field {name} is there twice")
            seen.add(name)
            if item is None:
                continue
            field = self.fields[name]
            try:
                read = field.read(item, version)
                if item and not field.since <= version < field.before:
                    raise Misfit(_field_version_fault(field, version))
            except Misfit as misfit:
                raise misfit.within(name) from None
            if field.argument:
                arguments[field.argument] = read
        for name in self.required:
            if not arguments.get(self.fields[name].argument):
                raise Misfit(f"{name} is missing" if name not in seen else f"{name} is empty")
        return self.make(**arguments, **more)

    def known_name(self, key: str) -> str:
        """Return the name of the field that ``key`` means.  Raises Misfit."""
        name = self.lower.get(key.lower())
        if name is None:
            meant = nearest(key, self.fields)
            raise Misfit(
                f"the field {shortened(key)} is unknown",
                f"did you mean {meant}?" if meant else "it may belong to a later specification",
            )
        return name


def _field_version_fault(field: CdiField, version: int) -> str:
    """Say why a file of that version may not have the field."""
    if version < field.since:
        return since_fault(field.since, version)
    return f"cdiVersion {CDI_VERSIONS[field.before]} dropped this field"


def since_fault(since: int, version: int) -> str:
    """Say that something is younger than the file's version."""
    return f"this takes cdiVersion {CDI_VERSIONS[since]}, and the file has {CDI_VERSIONS[version]}"


def expected(what: str, value: object) -> Misfit:
    """Return the misfit of a value of another type."""
    found = "text" if isinstance(value, str) else value_kind(value)
    return Misfit(f"expected {what}, found {found}")


def read_string(value: object, _version: int) -> str:
    """Return text; a number and a truth value stand for theirs, because YAML needs no quotes."""
    if type(value) is str:
        return value
    if type(value) in (bool, int):
        return str(value).lower()
    raise expected("text", value)


def read_bytes(value: object, version: int) -> bytes:
    """Return text as the bytes that the kernel gets."""
    text = read_string(value, version)
    if "\0" in text:
        raise Misfit("a NUL character")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Misfit("half of a surrogate pair") from None


def read_path(value: object, version: int) -> bytes:
    """Return an absolute path; it may be empty."""
    path = read_bytes(value, version)
    if path and path[0] != 0x2F:
        raise Misfit(f"{shortened(value)} is not an absolute path")
    return path


def read_variable(value: object, version: int) -> bytes:
    """Return NAME=VALUE."""
    string = read_bytes(value, version)
    if string.find(b"=") < 1:
        raise Misfit(f"{shortened(value)} is not NAME=VALUE")
    return string


def read_boolean(value: object, _version: int) -> bool:
    """Return a truth value."""
    if type(value) is bool:
        return value
    raise expected("true or false", value)


def whole_number(lowest: int, highest: int) -> _ReadValue:
    """Return a function that reads a whole number within bounds."""

    def read(value: object, _version: int) -> int:
        if type(value) is not int:
            raise expected("a whole number", value)
        if not lowest <= value <= highest:
            raise Misfit(f"a number from {lowest} to {highest} is possible")
        return value

    return read


def word_of(*words: str) -> _ReadValue:
    """Return a function that reads one of ``words``."""

    def read(value: object, version: int) -> str:
        text = read_string(value, version)
        if text not in words:
            known = ", ".join(filter(None, words))
            raise Misfit(f"{shortened(text)} is unknown", f"the specification has: {known}")
        return text

    return read


def list_of(read_item: _ReadValue) -> _ReadValue:
    """Return a function that reads a list as a tuple."""

    def read(value: object, version: int) -> tuple[object, ...]:
        if type(value) is not list:
            raise expected("a list", value)
        items = []
        try:
            for item in value:
                items.append(read_item(item, version))
        except Misfit as misfit:
            raise misfit.within(str(len(items) + 1)) from None
        return tuple(items)

    return read


def read_string_map(value: object, version: int) -> None:
    """Check an object with text as values."""
    if type(value) is not dict:
        raise expected("an object", value)
    for name, item in value.items():
        try:
            read_string(item, version)
        except Misfit as misfit:
            raise misfit.within(name) from None
