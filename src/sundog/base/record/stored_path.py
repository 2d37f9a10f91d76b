"""``DIR/img/NAME``: the path of an image in a storage directory, as other programs write it.

Nextflow and others know where Charliecloud keeps an image, and give that path to commands.  There
it is a directory with all files of the image.  Here it leads to what is not in the layers, so no
command may take it for a directory image.
"""

from __future__ import annotations

import os

from sundog.base.record.names import PLATFORMS, canonical_name, name_to_directory
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
        os.stat(stored_place(directory, name))
        os.stat(directory + b"/version")
    except (ReferenceSyntaxError, UnicodeDecodeError, OSError):
        return None
    return directory, name


def stored_place(storage: bytes, name: str, arch: bytes = b"") -> bytes:
    """Return the path of the image with the canonical name ``name`` in a storage directory.

    There need not be one.  ``arch`` is the architecture that the user wants; without it, the image
    is the one for this machine, else the only one.  Raises NotInStorage if none fits.
    """
    directory = name_to_directory(name)
    place = storage + b"/images/" + directory.encode()
    notes = b"/".join((storage, PLATFORMS, directory.encode()))
    if not arch and (_is_there(place) or not _is_there(notes)):
        return place
    from sundog.base.record.stored_entry import entry_for  # noqa: PLC0415 - few are foreign

    return storage + b"/images/" + entry_for(storage, directory, arch).encode()


def _is_there(path: bytes) -> bool:
    """Tell whether there is a file; who opens it finds out if it is closed to this user."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
