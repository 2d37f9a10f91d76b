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
import sys

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import encode_text, printable
from sundog.base.kernel.stub import await_child, discard_child_signal, read_all
from sundog.base.record.known_layouts import LAYOUT_RECORD_LIMIT, KnownLayout
from sundog.base.record.stored_path import stored_place
from sundog.errors import SundogError
from sundog.runtime.container.execute import quoted
from sundog.runtime.container.paths import absolute, exists
from sundog.runtime.launcher.image import image_name
from sundog.runtime.launcher.options import CommandLine, Finished
from sundog.runtime.launcher.storage import private_storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.variables import Environment
    from sundog.runtime.launcher.messages import Messages

# The child's program.  The packages of the child are where this module is.
_LOADER_PROGRAM = (
    b"import sys; sys.path.append(sys.argv.pop(1)); "
    b"from sundog.start import find_dependencies; find_dependencies(); "
    b"from sundog.front.cli.layout_loader import main; main()"
)
_PACKAGE = "/sundog/"  # between the packages' directory and a module of this one
_LOAD_IMAGE, _LOOK_ONLY = b"load", b"look"  # what the child is to do


def use_layout(
    line: CommandLine, storage: bytes, environment: Environment, messages: Messages
) -> None:
    """Replace the image of ``line``, which has a prefix, by the name of its image in ``storage``.

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
    if name is None:
        action = _LOOK_ONLY if line.dry else _LOAD_IMAGE
        words = [storage, path, tag, b"%d" % messages.verbosity, action]
        name, is_loaded = read_loader_answer(shown, _ask_loader(words, environment))
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


def _recorded_name(path: bytes, tag: bytes, storage: bytes) -> bytes | None:
    """Return the name of the image if the layout has a record in the user's own storage."""
    found = private_storage(storage)
    if found.directory < 0:
        return None
    with Closing(found.directory):
        try:
            known = KnownLayout(path, tag)
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            with Closing(os.open(found.at(known.place), flags)) as fd:
                name = known.unpack(os.read(fd, LAYOUT_RECORD_LIMIT))
        except OSError:
            return None
        if name is None or image_name(name.encode()) != name:
            return None
        return name.encode() if exists(stored_place(storage, name)) else None


def _ask_loader(words: list[bytes], environment: Environment) -> bytes:
    """Run the child with the arguments ``words``; return its answer.  Raises OSError."""
    packages, _, _ = use_layout.__code__.co_filename.rpartition(_PACKAGE)
    program = encode_text(sys.executable)
    command = [program, b"-I", b"-S", b"-c", _LOADER_PROGRAM, encode_text(packages) or b"/", *words]
    values = [(name, environment.get(name)) for name in environment.names()]
    variables = {name: value for name, value in values if value is not None}
    ours, theirs = os.pipe()
    with Closing(ours):
        with Closing(theirs):
            actions = [
                (os.POSIX_SPAWN_OPEN, 0, b"/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, theirs, 1),
            ]
            child = os.posix_spawn(program, command, variables, file_actions=actions)
        answer = read_all(ours)
    await_child(child)
    discard_child_signal()
    return answer


def read_loader_answer(shown: str, answer: bytes) -> tuple[bytes, bool]:
    """Return the name of the image of ``shown``, and whether it is in storage.

    Raises SundogError, also for an error that is the answer.
    """
    fields = answer.split(b"\0")
    if len(fields) != 3:
        raise SundogError(
            f"can't load {shown}: the process that loads it has died",
            "start again; see also: dmesg",
        )
    kind, text, more = fields
    if kind == b"error":
        message, hint = [field.decode("utf-8", "backslashreplace") for field in (text, more)]
        raise SundogError(f"can't run {shown}: {message}", hint)
    return text, more == b"there"
