"""Compare two images that two builders made of one Dockerfile."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scripts.conformance.images import Image

SET_ID = 0o6000


def differences(
    ours: Image, theirs: Image, excluded: Iterable[str], *, with_owners: bool
) -> list[str]:
    """Return the differences, a line each; owners and set-id bits only ``with_owners``.

    The root directory need not be in any layer.
    """
    pattern = re.compile("|".join(f"(?:{path})" for path in excluded) or "$.")
    found = []
    for path in sorted({*ours.entries, *theirs.entries} - {"."}):
        if pattern.fullmatch(path):
            continue
        one, other = (_shown(image, path, with_owners=with_owners) for image in (ours, theirs))
        if one != other:
            found.append(f"{path}: {one}; the other builder: {other}")
    for key in sorted({*ours.config, *theirs.config}):
        here, there = (_sorted(image.config.get(key)) for image in (ours, theirs))
        if here != there:
            found.append(f"config: {key}: {here!r}; the other builder: {there!r}")
    return found


def _sorted(value: object) -> object:
    """Return a list sorted if its order has no meaning, as with variables."""
    return sorted(value) if isinstance(value, list) and all("=" in str(v) for v in value) else value


def _shown(image: Image, path: str, *, with_owners: bool) -> str:
    entry = image.entries.get(path)
    if entry is None:
        return "absent"
    if not with_owners:
        entry = replace(entry, uid=0, gid=0, mode=entry.mode & ~SET_ID)
    if entry.type == "symlink":
        entry = replace(entry, mode=0o777)
    return f"{entry} {image.contents.get(path, '')[:12]}".rstrip()
