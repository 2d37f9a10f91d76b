"""The operand of ``ch-fromhost``: the directory of an image, outside of storage."""

from __future__ import annotations

import os

from sundog.base.configuration.storage import default_storage
from sundog.base.record.names import canonical_name, name_to_directory
from sundog.errors import ReferenceSyntaxError, SundogError

_USUAL = ("bin", "dev", "usr")


def check_image(text: str) -> None:
    """Raise SundogError unless ``text`` is a directory that may be changed.

    The hint says how to make one.
    """
    storage = os.fsdecode(default_storage(os.environb))
    if os.path.isdir(text):
        if _is_inside(text, storage):
            raise SundogError(
                f"an image in storage is never changed: {text}",
                "make a directory of it: ch-convert NAME ./DIR; then ch-fromhost ... ./DIR",
            )
        if not any(os.path.isdir(os.path.join(text, name)) for name in _USUAL):
            raise SundogError(
                f"not the directory of an image: {text}: it has none of {', '.join(_USUAL)}"
            )
        return
    raise SundogError(f"image not a directory: {text}", _hint(text, storage))


def _hint(text: str, storage: str) -> str:
    if "/" in text and not os.path.lexists(text):
        return f"there is no {os.path.abspath(text)}"
    if os.path.isfile(text):
        return f"make a directory of it: ch-convert {text} ./DIR; then ch-fromhost ... ./DIR"
    try:
        name = name_to_directory(canonical_name(text))
    except ReferenceSyntaxError:
        return ""
    if os.path.lexists(os.path.join(storage, "images", name)):
        return f"make a directory of it: ch-convert {text} ./DIR; then ch-fromhost ... ./DIR"
    return "ch-convert makes the directory of an image: ch-convert IMAGE ./DIR"


def _is_inside(path: str, directory: str) -> bool:
    real, storage = os.path.realpath(path), os.path.realpath(directory)
    return os.path.commonpath([real, storage]) == storage
