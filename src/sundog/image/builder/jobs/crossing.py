"""The values that cross between a build and the processes of its stages, by ``wire``.

A value crosses as the name of its class and its fields.
"""

from __future__ import annotations

from dataclasses import fields

from sundog.base.wire.values import pack_value, unpack_value
from sundog.image.builder.explanation import StageRecord, StepRecord
from sundog.image.builder.retry import Mark
from sundog.image.builder.state import Remains, StageOutcome, StageResult
from sundog.image.oci.config import HistoryEntry, ImageConfig

_CLASSES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        *(HistoryEntry, ImageConfig, Mark, Remains),
        *(StageOutcome, StageRecord, StageResult, StepRecord),
    )
}


def pack(*message: object) -> bytes:
    """Return a message as bytes."""
    return pack_value(message, _take_apart)


def unpack(data: bytes) -> tuple[object, ...]:
    """Return the message that ``pack`` made; raise ValueError."""
    message = unpack_value(data, _put_together)
    if not isinstance(message, tuple):
        raise ValueError("not a message")
    return message


def _take_apart(value: object) -> tuple[str, tuple[object, ...]]:
    name = type(value).__name__
    if _CLASSES.get(name) is not type(value):
        raise TypeError(f"this may not cross between processes: {value!r}")
    return name, tuple(getattr(value, field.name) for field in fields(_CLASSES[name]))


def _put_together(name: str, parts: tuple[object, ...]) -> object:
    if name not in _CLASSES:
        raise ValueError(f"this may not cross between processes: {name[:100]!r}")
    return _CLASSES[name](*parts)
