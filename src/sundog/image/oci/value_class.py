"""Frozen values with slots, as ``dataclasses`` has them, for commands of few milliseconds.

The module ``dataclasses`` imports ``inspect`` and ``ast``, which take a fifth of the time of
``ch-run-oci run``.  Type checkers see the decorator of that module.
"""

from __future__ import annotations

__all__ = ["replaced", "value_class"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import dataclass as value_class
    from dataclasses import replace as replaced
else:

    def value_class(**_options: bool):
        """Return the decorator that makes a class of values; it takes dataclass's options."""
        return _made

    def replaced(value: object, **changes: object):
        """Return an equal value with other ``changes``."""
        return type(value)(**{name: getattr(value, name) for name in value.__slots__} | changes)


def _made(described: type) -> type:
    names = tuple(described.__annotations__)
    body = {name: part for name, part in vars(described).items() if name not in _LEFT_OUT}
    defaults = {name: body.pop(name) for name in names if name in body}

    def __init__(self: object, *values: object, **more: object) -> None:  # noqa: N807
        given = defaults | dict(zip(names, values, strict=False)) | more
        if len(values) > len(names) or given.keys() != set(names):
            raise TypeError(f"{described.__name__} has the fields {', '.join(names)}")
        for name in names:
            object.__setattr__(self, name, given[name])

    body |= {"__slots__": names, "__init__": __init__}
    return type(described.__name__, (_Frozen,), body)


class _Frozen:
    __slots__ = ()

    def __setattr__(self, name: str, _value: object) -> None:
        raise AttributeError(f"cannot change {name}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and _fields(self) == _fields(other)

    def __hash__(self) -> int:
        return hash(_fields(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}{_fields(self)!r}"


def _fields(value: object) -> tuple[object, ...]:
    return tuple(getattr(value, name) for name in type(value).__slots__)  # type: ignore[attr-defined]


_LEFT_OUT = ("__dict__", "__weakref__")
