"""``locks/``: notes of what may be garbage, for the command that collects it.

    locks/collection-due    anything may be garbage
    locks/gone-RANDOM       what images refer to that are about to be deleted or replaced

A command makes its note before it changes anything.  If it is killed, or if other commands use
layers when it ends, the next command to end finds the note, and collects.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from dataclasses import dataclass

from sundog.base.fields import Fields, parse_json
from sundog.base.kernel.drafts import write_new_file
from sundog.base.record.stack import ID_LENGTH
from sundog.errors import DocumentError
from sundog.image.store.directory import COLLECTION_DUE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.fields import JsonObject

_GONE = b"gone-"
_WHAT = "a note of images that are gone"
_LIMIT = 16 << 20  # bytes of a note
_FULL = (errno.ENOSPC, errno.EDQUOT)
_HEX_DIGITS = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Gone:
    """The references of the image in ``images/directory``, which is deleted or replaced.

    ``directory`` is "" if it was no image that referred to that.  ``tree`` is the flattened tree
    from which the image was run, "" if it needed none.
    """

    directory: str
    layers: tuple[str, ...]
    tree: str = ""
    blobs: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: object) -> Gone:
        """Read what ``to_json`` made; raise DocumentError."""
        fields = Fields(value, _WHAT, DocumentError)
        gone = cls(
            fields.string("directory"),
            fields.strings("layers") or (),
            fields.string("tree"),
            fields.strings("blobs") or (),
        )
        if not gone.is_sound:
            raise DocumentError(f"{_WHAT}: not a name in a storage directory")
        return gone

    @property
    def is_sound(self) -> bool:
        """Tell whether the names of layers and trees can be names in a storage directory."""
        return "/" not in self.directory and all(
            len(name) == ID_LENGTH and _HEX_DIGITS.issuperset(name)
            for name in (*self.layers, self.tree)
            if name
        )

    def to_json(self) -> JsonObject:
        """Return the object for a note."""
        return {
            "directory": self.directory,
            "layers": list(self.layers),
            "tree": self.tree,
            "blobs": list(self.blobs),
        }


@dataclass(frozen=True, slots=True)
class Due:
    """The work of a collection: a look at ``gone``, or at everything.

    ``notes`` are the paths that say so.
    """

    gone: Sequence[Gone]
    is_everything: bool
    notes: Sequence[bytes]


class Garbage:
    """The garbage that this command expects, and that which earlier ones have left."""

    def __init__(self, store: bytes) -> None:
        self._locks = os.path.join(store, os.path.dirname(COLLECTION_DUE))
        self._everything = os.path.join(store, COLLECTION_DUE)
        self._gone: list[Gone] = []
        self._is_everything = False

    def expect(self) -> None:
        """Note that anything may become garbage."""
        if not self._is_everything:
            with _unless_full():
                os.close(os.open(self._everything, os.O_WRONLY | os.O_CREAT, 0o600))
            self._is_everything = True

    def expect_of(self, *gone: Gone) -> None:
        """Note that images are about to go."""
        new = [each for each in gone if each not in self._gone]
        if not all(each.is_sound for each in new):
            self.expect()
        elif new:
            path = os.path.join(self._locks, _GONE + os.urandom(8).hex().encode())
            with _unless_full():
                write_new_file(path, json.dumps([each.to_json() for each in new]).encode())
            self._gone += new

    def is_due(self) -> bool:
        """Tell whether this command or an earlier one expects garbage."""
        return bool(self._is_everything or self._gone or self._notes())

    def due(self) -> Due:
        """Return what has to be looked at now."""
        notes, gone = self._notes(), list(self._gone)
        is_everything = self._is_everything or self._everything in notes
        for path in notes:
            if path != self._everything:
                with suppress(FileNotFoundError):
                    try:
                        gone += _read(path)
                    except DocumentError:  # it was written while the disk was full
                        is_everything = True
        return Due(list(dict.fromkeys(gone)), is_everything, notes)

    def settle(self, due: Due) -> None:
        """Forget what was due, because it is collected."""
        for path in due.notes:
            with suppress(FileNotFoundError):
                os.unlink(path)
        self._gone.clear()
        self._is_everything = False

    def _notes(self) -> list[bytes]:
        return [
            os.path.join(self._locks, name)
            for name in os.listdir(self._locks)
            if name.startswith(_GONE) or name == os.path.basename(self._everything)
        ]


class _unless_full:  # noqa: N801 - it reads as suppress does
    """On a full file system, only this process knows of the garbage."""

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        return isinstance(error, OSError) and error.errno in _FULL


def _read(path: bytes) -> list[Gone]:
    with open(path, "rb") as file:
        value = parse_json(file.read(_LIMIT), _WHAT, DocumentError)
    if not isinstance(value, list):
        raise DocumentError(f"{_WHAT}: not a list")
    return [Gone.from_json(each) for each in value]
