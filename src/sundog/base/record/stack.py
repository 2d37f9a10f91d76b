"""``images/REF/stack``: what ``ch-run`` must know to mount an image and to run its default command.

The small file stands beside ``config.json``, so that a start costs one read and one split.  Format:
the magic ``sundog-stack 2``, the tree, the working directory, the user, then three lists (layers,
entrypoint, command), each as its length and its items.  Every field ends in NUL, so a field may
contain all that an ``argv`` may.  Version 3 has one more field, the marks of ``guesses``; it is
written only for an image with marks, so that earlier versions of Sundog can read all others.
Version 4 has that field always, and says that there are layers which are files: whoever mounts them
must first mount ``shown``.  Version 1 had no user.

The file's time of modification is that of the last use of the image: a start renews it, and so does
a command that takes the image.
"""

from __future__ import annotations

import os
import time

from sundog.base.kernel.files import Closing
from sundog.errors import StoreError

STACK_MAGIC = b"sundog-stack 2"
STACK_MAGIC_3 = b"sundog-stack 3"
STACK_MAGIC_4 = b"sundog-stack 4"
_STACK_MAGIC_1 = b"sundog-stack 1"
STACK_FILE = b"stack"
USE_FRESH = 3600  # seconds after which a use is noted again
ID_LENGTH = 20  # of layers and trees: one page of mount options names 127 of them


class ImageStack:
    """The layers of an image in the order of their mount, and the image's default command.

    layers      IDs below ``layers/``, topmost first; none below a layer whose root is opaque
    tree        ID below ``trees/`` if the ``copy`` driver flattened the layers, else empty
    entrypoint, command, workdir, user
                ENTRYPOINT, CMD, WORKDIR and USER of the image's config, each perhaps empty
    guesses     a letter of ``record.guesses`` for each of the layers, or OWNERS_LOST; empty if
                all are OWNERS_KNOWN
    has_files   whether some of the layers are files: ``record.layer_path``
    """

    __slots__ = (
        *("command", "entrypoint", "guesses", "has_files", "layers", "tree", "user", "workdir"),
    )

    def __init__(
        self,
        layers: list[bytes],
        tree: bytes = b"",
        entrypoint: list[bytes] | None = None,
        command: list[bytes] | None = None,
        workdir: bytes = b"",
        *,
        user: bytes = b"",
        guesses: bytes = b"",
        has_files: bool = False,
    ) -> None:
        self.has_files = has_files
        self.layers = layers
        self.tree = tree
        self.entrypoint = entrypoint or []
        self.command = command or []
        self.workdir = workdir
        self.user = user
        self.guesses = guesses


def pack_stack(stack: ImageStack) -> bytes:
    """Return the bytes of the file.  Raises StoreError if a field contains a NUL byte."""
    magic = STACK_MAGIC_3 if stack.guesses else STACK_MAGIC
    if stack.has_files:
        magic = STACK_MAGIC_4
    fields = [magic, stack.tree, stack.workdir, stack.user]
    for items in (stack.layers, stack.entrypoint, stack.command):
        fields.append(b"%d" % len(items))
        fields.extend(items)
    if magic != STACK_MAGIC:
        fields.append(stack.guesses)
    for field in fields:
        if b"\0" in field:
            text = os.fsdecode(field).encode("utf-8", "backslashreplace").decode()
            raise StoreError(f"a NUL byte in the image's command or working directory: {text!r}")
    return b"".join(field + b"\0" for field in fields)


def pack_command(
    entrypoint: list[bytes], command: list[bytes], workdir: bytes = b"", *, user: bytes = b""
) -> bytes:
    """Return the bytes of ``ch/stack`` in a one-file image: its default command, and no layers.

    Raises StoreError if a field contains a NUL byte.
    """
    return pack_stack(ImageStack([], b"", entrypoint, command, workdir, user=user))


def unpack_command(data: bytes) -> ImageStack:
    """Return what ``pack_command`` packed into ``data``.

    Raises StoreError if ``data`` is something else; a stranger may have made the image.
    """
    try:
        stack = unpack_stack(data)
        if stack.layers or stack.tree:
            raise ValueError("it names layers")
    except (ValueError, IndexError) as error:
        raise StoreError(
            f"damaged image: ch/stack: {error}", "make it again, with ch-convert"
        ) from error
    return stack


def unpack_stack(data: bytes) -> ImageStack:
    """Return what ``pack_stack`` packed into ``data``.  Raises ValueError or IndexError."""
    fields = data.split(b"\0")
    if fields[0] == _STACK_MAGIC_1:
        fields.insert(3, b"")
    elif fields[0] not in (STACK_MAGIC, STACK_MAGIC_3, STACK_MAGIC_4):
        raise ValueError("no stack of version 1, 2, 3 or 4")
    _, tree, workdir, user = fields[:4]
    lists = []
    position = 4
    for _ in range(3):
        end = position + 1 + int(fields[position])
        lists.append(fields[position + 1 : end])
        position = end
    guesses = b""
    if fields[0] in (STACK_MAGIC_3, STACK_MAGIC_4):
        guesses = fields.pop(position)
    if fields[position:] != [b""]:
        raise ValueError("trailing fields or a cut file")
    return ImageStack(
        *(lists[0], tree, lists[1], lists[2], workdir),
        user=user,
        guesses=guesses,
        has_files=fields[0] == STACK_MAGIC_4,
    )


def read_stack(dirfd: int, *, is_use: bool = False) -> ImageStack:
    """Read the stack of the image directory ``dirfd``.

    With ``is_use``, note that the image is used.  Raises OSError; StoreError if the file is
    damaged.
    """
    with Closing(os.open(STACK_FILE, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dirfd)) as fd:
        status = os.fstat(fd)
        data = os.read(fd, status.st_size)
        if is_use:
            note_use(fd, status)
    try:
        return unpack_stack(data)
    except (ValueError, IndexError) as error:
        raise StoreError(
            f"damaged image in storage: stack: {error}",
            "import or build the image again",
        ) from error


def note_use(file: int | bytes, status: os.stat_result) -> None:
    """Note in the times of a file or a symbolic link that it is used, if the last note is old.

    ``status`` is its status.  There is no note where this user can write none.
    """
    if time.time() - status.st_mtime > USE_FRESH:
        try:
            if isinstance(file, int):
                os.utime(file)
            else:
                os.utime(file, follow_symlinks=False)
        except OSError:
            return
