"""``oci:PATH[:TAG]``: an image in an OCI layout or in an archive runs through storage.

If the layout has a record (see ``record.known_layouts``), the image is in storage, and this process
learns its name from the record.  Otherwise a child process looks into the layout, brings the image
into storage if it is not there, and answers with its name.  The child is a module of this
installation: no variable and no option can lead to another program.

``request`` imports this module only for such images.  In the wheel it is in a joined module of its
own.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.base.record.known_layouts import LAYOUT_RECORD_LIMIT, KnownLayout
from sundog.base.record.stored_path import stored_place
from sundog.errors import SundogError
from sundog.runtime.container.execute import quoted
from sundog.runtime.container.paths import absolute, exists
from sundog.runtime.launcher.asked import ask_for_image
from sundog.runtime.launcher.image import image_name
from sundog.runtime.launcher.options import CommandLine, Finished
from sundog.runtime.launcher.storage import private_storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.variables import Environment
    from sundog.runtime.launcher.messages import Messages

_LOADER_MODULE = b"sundog.front.cli.layout_loader"
_LOAD_IMAGE, _LOOK_ONLY = b"load", b"look"  # what the child is to do
_LAZY = b"lazy"


def use_layout(
    line: CommandLine,
    storage: bytes,
    environment: Environment,
    messages: Messages,
    *,
    is_lazy: bool,
) -> None:
    """Replace the image of ``line``, which has a prefix, by the name of its image in ``storage``.

    ``is_lazy``: the layers of a layout stay there.
    A name in storage, or a file whose name begins with the prefix, stays as it is.  With --dry-run,
    the function loads nothing.  Raises SundogError, OSError, and Finished if --dry-run has nothing
    more to tell.
    """
    word = line.operands[0]
    own = image_name(word)
    if exists(word) or (own is not None and exists(stored_place(storage, own))):
        return
    shown = printable(word)
    _, _, place = word.partition(b":")
    path, tag = _split_tag(place)
    if not exists(path):
        raise SundogError(
            f"image not found: {shown}: no such directory or file",
            "write oci:PATH or oci:PATH:TAG; PATH is an OCI layout or an archive of images",
        )
    path = absolute(path)
    name = _recorded_name(path, tag, storage)
    if name is None and is_lazy:
        name = _recorded_name(path, tag, storage, in_place=True)
    if name is None:
        action = _LOOK_ONLY if line.dry else _LOAD_IMAGE
        words = [storage, path, tag, b"%d" % messages.verbosity, action, _LAZY if is_lazy else b""]
        name, is_loaded = ask_for_image(_LOADER_MODULE, words, environment, shown)
        if line.dry and not is_loaded:
            text = f"load {shown} into the storage directory as {printable(name)}\n"
            if line.operands[1:]:
                text += f"executing: {quoted(line.operands[1:])}\n"
            raise Finished(0, text)
    messages.verbose(f"image of {shown}: {printable(name)}")
    line.operands[0] = name


def _split_tag(place: bytes) -> tuple[bytes, bytes]:
    """Split PATH[:TAG]; a path that exists as it is has no tag."""
    path, colon, tag = place.partition(b":")
    return (path, tag) if colon and not exists(place) else (place, b"")


def _recorded_name(
    path: bytes, tag: bytes, storage: bytes, *, in_place: bool = False
) -> bytes | None:
    """Return the name of the image if the layout has a record in the user's own storage."""
    found = private_storage(storage)
    if found.directory < 0:
        return None
    with Closing(found.directory):
        try:
            known = KnownLayout(path, tag, in_place=in_place)
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            with Closing(os.open(found.at(known.place), flags)) as fd:
                name = known.unpack(os.read(fd, LAYOUT_RECORD_LIMIT))
        except OSError:
            return None
        if name is None or image_name(name.encode()) != name:
            return None
        return name.encode() if exists(stored_place(storage, name)) else None
