"""``listenerMetadata`` of a profile: which records a container begins with, and which it leaves.

The metadata are a text, which the runtime passes on as it is: nothing, or a JSON object with some
of these fields:

    owners      the path of a file with records, in the format of ``record.owners``
    changes     the path of the directory that is the container's root.  Records are in the file
                ``ch/owners`` in it, and at the end the file gets those of the container
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from sundog.base.fields import Fields
from sundog.base.kernel.libc import printable
from sundog.errors import RuntimeConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

_WHAT = "listenerMetadata"


@dataclass(frozen=True)
class Metadata:
    """The paths in a profile's metadata; b"" stands for none."""

    owners: bytes = b""
    changes: bytes = b""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what ``text`` says.  Raises RuntimeConfigError."""
        if not text:
            return cls()
        fields = Fields.parse(text, _WHAT, RuntimeConfigError)
        found = cls(_path(fields, "owners"), _path(fields, "changes"))
        if fields.rest:
            raise RuntimeConfigError(
                f"{_WHAT}: unknown field {next(iter(fields.rest))}",
                "the fields are: owners, changes",
            )
        return found

    def pack(self) -> str:
        """Return the text.  Raises RuntimeConfigError for a path that JSON can't hold."""
        paths = {"owners": self.owners, "changes": self.changes}
        try:
            found = {key: path.decode() for key, path in paths.items() if path}
        except UnicodeDecodeError as error:
            shown = printable(error.object)
            raise RuntimeConfigError(f"{_WHAT}: {shown}: not Unicode text") from None
        return json.dumps(found) if found else ""


def _path(fields: Fields, key: str) -> bytes:
    text = fields.string(key)
    if not text:
        return b""
    try:
        path = text.encode()
    except UnicodeEncodeError:
        raise RuntimeConfigError(f"{_WHAT}: {key}: not Unicode text") from None
    if not os.path.isabs(path) or b"\0" in path:
        raise RuntimeConfigError(f"{_WHAT}: {key}: not an absolute path: {printable(path)}")
    return path
