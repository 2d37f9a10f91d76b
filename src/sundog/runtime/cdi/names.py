"""The grammar of CDI's names: VENDOR/CLASS=DEVICE.

Specification: Container Device Interface 1.1, "Kind" and "CDI Devices".
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeVar

    _Name = TypeVar("_Name", str, bytes)

_ASCII_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_ASCII_ALPHANUMERICS = _ASCII_LETTERS | frozenset("0123456789")
KIND_CHARACTERS = _ASCII_ALPHANUMERICS | frozenset("_-.")
_DEVICE_CHARACTERS = KIND_CHARACTERS | {":"}
_SHOWN_LIMIT = 80


def kind_fault(kind: str) -> str:
    """Say why ``kind`` is not VENDOR/CLASS; "" if it is."""
    vendor, slash, device_class = kind.partition("/")
    if not slash:
        return f"{shortened(kind)} is not VENDOR/CLASS"
    return _kind_part_fault("vendor", vendor) or _kind_part_fault("class", device_class)


def _kind_part_fault(part: str, name: str) -> str:
    """Say why ``name`` is not a vendor or a class; "" if it is."""
    if not name:
        return f"the {part} is empty"
    if name[0] not in _ASCII_LETTERS:
        return f"the {part} {shortened(name)} does not begin with a letter"
    return _name_fault(part, name, KIND_CHARACTERS)


def device_fault(name: str) -> str:
    """Say why ``name`` is not the name of a device, without its kind; "" if it is."""
    if not name:
        return "the name is empty"
    if name[0] not in _ASCII_ALPHANUMERICS:
        return f"the name {shortened(name)} does not begin with a letter or a digit"
    return _name_fault("name", name, _DEVICE_CHARACTERS)


def _name_fault(part: str, name: str, allowed: frozenset[str]) -> str:
    """Say which character ``name`` may not have, or may not end with; "" if there is none."""
    for character in name:
        if character not in allowed:
            return f"the {part} {shortened(name)} has the character {character!r}"
    if name[-1] not in _ASCII_ALPHANUMERICS:
        return f"the {part} {shortened(name)} does not end with a letter or a digit"
    return ""


def first_repeated(names: Iterable[_Name]) -> _Name | None:
    """Return the first name that was there before; None if all differ."""
    seen = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def shortened(text: object) -> str:
    """Return text of a file in quotation marks, not too long for a message."""
    whole = repr(text)
    return whole if len(whole) <= _SHOWN_LIMIT else f"{whole[:_SHOWN_LIMIT]}…"
