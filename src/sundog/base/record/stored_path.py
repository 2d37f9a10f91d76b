"""``DIR/img/NAME``: the path of an image in a storage directory, as other programs write it.

Nextflow and others know where Charliecloud keeps an image, and give that path to commands.  There
it is a directory with all files of the image.  Here it leads to what is not in the layers, so no
command may take it for a directory image.
"""

from __future__ import annotations

import os

from sundog.base.record.names import canonical_name, name_to_directory
from sundog.errors import ReferenceSyntaxError


def path_in_storage(path: bytes) -> tuple[bytes, str] | None:
    """Return the storage directory and the image's canonical name for a path; None for another.

    The path is DIR/img/NAME, DIR/images/NAME or DIR/images/NAME/root, with ``%`` and ``+`` in NAME.
    The text of the path decides, whatever ``img/NAME`` is.
    """
    if b"/" not in path:
        return None
    path = path if path.startswith(b"/") else os.getcwdb() + b"/" + path
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if parts[-1:] == [b"root"] and parts[-3:-2] == [b"images"]:
        parts.pop()
    if parts[-2:-1] not in ([b"img"], [b"images"]):
        return None
    directory = b"/" + b"/".join(parts[:-2])
    try:
        name = canonical_name(parts[-1].decode("ascii"))
        os.stat(directory + b"/images/" + name_to_directory(name).encode())
        os.stat(directory + b"/version")
    except (ReferenceSyntaxError, UnicodeDecodeError, OSError):
        return None
    return directory, name
