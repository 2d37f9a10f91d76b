"""Names in layers: how they are normalised, which are whiteouts, how messages show them.

Specification of whiteouts: OCI image specification, layer.md, "Whiteouts".  ``.wh.NAME`` deletes
NAME of the layers below; ``.wh..wh..opq`` deletes all that they have in its directory.  Other names
that begin with ``.wh..wh.`` belonged to AUFS and mean nothing.
"""

from __future__ import annotations

from sundog.errors import ArchiveError

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
AUFS = b".wh..wh."
NAME_LIMIT = 255  # NAME_MAX
PATH_LIMIT = 4094  # PATH_MAX without the "/" in front and the NUL behind
_SHOWN = 200


def normalised(name: bytes) -> bytes:
    """Return the path of a member relative to the layer's root; the root itself is b"".

    An absolute name is also relative to that root.  Raises ArchiveError on a ".." or a NUL.
    """
    parts = name.split(b"/")
    if b"" in parts or b"." in parts:
        parts = [part for part in parts if part not in (b"", b".")]
        name = b"/".join(parts)
    if b".." in parts:
        raise ArchiveError('the name has a ".." in it')
    if b"\0" in name:
        raise ArchiveError("the name has a NUL in it")
    return name


def joined(directory: bytes, name: bytes) -> bytes:
    """Return the path of ``name`` in ``directory``, which may be the root, b""."""
    return b"%s/%s" % (directory, name) if directory else name


def check_length(path: bytes) -> None:
    """Raise ArchiveError for a path that is too long for any program in a container."""
    if len(path) > PATH_LIMIT:
        raise ArchiveError(
            f"{display(path)}: a path of more than {PATH_LIMIT} bytes (PATH_MAX)",
            "no program can open it; shorten it, or leave it out",
        )


def check_no_mark(path: bytes) -> None:
    """Raise ArchiveError for a file whose name would mean a whiteout in an archive."""
    if path.rpartition(b"/")[2].startswith(WHITEOUT):
        raise ArchiveError(
            f"{display(path)} cannot be in an archive: it would mean a whiteout there",
            "rename it: layers cannot hold names that begin with .wh.",
        )


def display(name: bytes) -> str:
    """Return ``name`` as text for a message, shortened in the middle when it is long."""
    text = name.decode("utf-8", "backslashreplace")
    if len(text) > _SHOWN:
        text = f"{text[: _SHOWN // 2]}...{text[-_SHOWN // 2 :]}"
    return text or "/"


def is_utf8(text: bytes) -> bool:
    """Tell whether ``text`` is UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
