"""The name of an image without ``-t``: from the Dockerfile's name or the context's.

As in Charliecloud: ``Dockerfile.EXT`` names EXT, ``NAME.df`` and ``NAME.dockerfile`` name NAME; for
any other Dockerfile, the context directory gives the name.
"""

from __future__ import annotations

import os

_EXTENSIONS = (".df", ".dockerfile")
_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.-")


def inferred_name(dockerfile: str, context: str) -> str:
    """Return a name for the image; "" if no letter that a name can have is left.

    Either path may be ``-`` (standard input), which gives no name.
    """
    file_name = os.path.basename(dockerfile)
    stem, dot, extension = file_name.partition(".")
    if stem == "Dockerfile" and dot and extension:
        return _sanitized(extension)
    for suffix in _EXTENSIONS:
        if file_name.endswith(suffix) and file_name != suffix:
            return _sanitized(file_name.removesuffix(suffix))
    if context == "-":
        return ""
    return _sanitized(os.path.basename(os.path.abspath(context)) or "root")


def _sanitized(text: str) -> str:
    """Remove what a reference can't hold; the result starts and ends with a letter or digit."""
    return "".join(char for char in text.lower() if char in _ALLOWED).strip("_.-")
