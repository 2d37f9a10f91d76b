"""``RUN --device``: the text of the flag to a value.

Specification: the Dockerfile reference, “RUN --device”; BuildKit for the values of ``required``.
"""

from __future__ import annotations

from dataclasses import dataclass

from sundog.base.spelling import BOOLEANS

_HINT = "write --device=VENDOR/CLASS=NAME or --device=VENDOR/CLASS=NAME,required"


class DeviceSyntaxError(Exception):
    """A fault in the text of a ``--device``."""

    def __init__(self, message: str, hint: str = _HINT) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class RunDevice:
    """A ``--device``: a name of CDI; without ``required``, the device may be missing."""

    name: str
    required: bool = False


def parse_device(text: str) -> RunDevice:
    """Parse the value of a ``--device``; raise DeviceSyntaxError."""
    name, required = "", False
    for number, item in enumerate(text.split(",")):
        key, equals, value = item.partition("=")
        if key == "required":
            switch = BOOLEANS.get(value if equals else "true")
            if switch is None:
                raise DeviceSyntaxError(f"--device: required is true or false, not {value!r}")
            required = switch
        elif key == "name" and equals:
            name = value
        elif number == 0:
            name = item
        else:
            raise DeviceSyntaxError(f"--device: no such key: {key}")
    if not name:
        raise DeviceSyntaxError("--device: no name")
    return RunDevice(name, required)
