"""The line of the site's log for a start: few sites have one."""

from __future__ import annotations

import os

from sundog.base.configuration.log import LogEntry, open_log
from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.base.kernel.stub import read_all
from sundog.base.record.stored_path import stored_place
from sundog.errors import SundogError
from sundog.runtime.cdi.json_text import JsonFault, parse_json_text
from sundog.runtime.container.paths import exists
from sundog.runtime.launcher.image import image_name

_STARTED = "started"  # the process becomes the command, so nobody is left who sees its end
_NOTIFY, _SECCOMP, _NONE = "notify", "seccomp", "none"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.configuration.stores import SharedImage
    from sundog.runtime.launcher.request import Request
    from sundog.runtime.launcher.storage import Storage


class StartLog:
    """The writer of the line of a start to ``place``; make it in the host's namespaces.

    ``storage`` is that of the image, None if the container is there already.  ``shared`` is the
    image, if it is a shared one.
    """

    __slots__ = ("_log", "_request", "_shared", "_storage")

    def __init__(
        self, place: bytes, request: Request, storage: Storage | None, shared: SharedImage | None
    ) -> None:
        self._log = open_log(place, request.environment)
        self._request = request
        self._storage = storage
        self._shared = shared

    def note(self) -> None:
        """Write the line.  The process still has the host's root directory."""
        if self._log is None:
            return
        request = self._request
        emulation = request.line.emulation
        mode = _SECCOMP if emulation.seccomp or emulation.notify else _NONE
        is_found = self._storage is not None or image_name(request.word) or exists(request.word)
        entry = LogEntry(
            "ch-run",
            printable(request.word) if is_found else None,
            status=_STARTED,
            identity=_identity(request, self._storage, self._shared),
            mode=_NOTIFY if request.is_attended else mode,
        )
        self._log.write(entry)


def _identity(
    request: Request, storage: Storage | None, shared: SharedImage | None
) -> tuple[str, str]:
    """Return the image's ID, and the digest by which it was pulled; either may be ""."""
    try:
        if shared is not None:
            return _described(_fields(shared.documents).get("image"))
        name = image_name(request.line.operands[0])
        if storage is None or storage.directory < 0 or name is None:
            return "", ""
        if request.line.image.container:
            return "", ""
        found = stored_place(storage.at(b"."), name, request.line.image.arch)
        with Closing(os.open(found + b"/image.json", os.O_RDONLY | os.O_CLOEXEC)) as fd:
            return _described(_fields(read_all(fd)))
    except (OSError, ValueError, SundogError, JsonFault):
        return "", ""


def _fields(data: bytes) -> dict[str, object]:
    value = parse_json_text(data.decode())
    return value if isinstance(value, dict) else {}


def _described(value: object) -> tuple[str, str]:
    fields = value if isinstance(value, dict) else {}
    blobs = fields.get("blobs")
    digest = blobs[0] if isinstance(blobs, list) and blobs else ""
    return _text(fields.get("id")), _text(digest)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
