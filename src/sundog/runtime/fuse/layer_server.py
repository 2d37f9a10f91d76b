"""Show the layers that are files to a process in its own mount namespace.

``_LayerServer`` starts a server before the process enters its namespaces.  ``show`` mounts in them,
at ``shown`` in each store, what the links ``layers/ID/tree`` lead to.
"""

from __future__ import annotations

import os
from posix import environ

from sundog.base.kernel.libc import escaped, printable
from sundog.base.kernel.mounts import AT_FDCWD, MOVE_MOUNT_F_EMPTY_PATH, move_mount
from sundog.base.record.layer_path import SHOWN, is_in_file
from sundog.base.record.lazy_layer import WAIT_VARIABLE, check_place, is_incomplete, wait_seconds
from sundog.errors import FuseRefused, SundogError
from sundog.runtime.fuse.device import mount_fuse
from sundog.runtime.fuse.messages import DEVICE_MESSAGE, LAYERS, READY
from sundog.runtime.fuse.starting import start_server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sundog.runtime.fuse.channel import Channel

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_UNPACKED_HINT = "images of plain layers need no FUSE: ch-image delete {0}; ch-image pull {0}"


def stores_of(trees: Iterable[bytes]) -> list[bytes]:
    """Return the storage directories of those of ``trees`` that are in layer files."""
    found = [tree.rsplit(b"/", 3)[0] for tree in trees if is_in_file(tree)]
    return list(dict.fromkeys(found))


def are_complete(trees: Iterable[bytes]) -> bool:
    """Tell whether all of each layer is here, of those of ``trees`` that are in layer files.

    Raises SundogError if it is not, and WAIT_VARIABLE does not say how long readers wait.
    """
    if not any(is_in_file(tree) and is_incomplete(tree.rpartition(b"/")[0]) for tree in trees):
        return True
    _check_wait(environ.get(WAIT_VARIABLE, b""))
    return False


def _check_wait(text: bytes) -> None:
    """Raise SundogError if WAIT_VARIABLE is ``text``, and says no time."""
    if text and wait_seconds(text) is None:
        name = WAIT_VARIABLE.decode()
        raise SundogError(
            f"${name}: not a number of seconds: {printable(text)}", "such as 300, in digits"
        )


def open_layers(store: bytes) -> tuple[int, int]:
    """Return what a server gets of the storage directory ``store``.  Raises OSError."""
    return os.open(store + b"/layers", _DIRECTORY), LAYERS


def show_store(
    channel: Channel, index: int, store: bytes, place: bytes = b"", *, is_whole: bool = False
) -> None:
    """Mount the layers of ``store``, the server's ``index``, at its ``shown``.

    ``place`` is another path of the storage directory, for mounting.  ``is_whole`` is as for
    ``LayersFiles``.  Call it in the container's namespaces.  Raises SundogError.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        device, tree = mount_fuse(store, uid, gid)
    except FuseRefused as error:
        error.hint = _UNPACKED_HINT.format("IMAGE")
        raise
    try:
        channel.send(DEVICE_MESSAGE.pack(index, uid, gid, is_whole), device)
        os.close(device)
        answer, _ = channel.receive()
    except OSError:
        answer = b""
    if answer != READY:
        reason = escaped(answer.partition(b":")[2].decode("utf-8", "backslashreplace"))
        raise SundogError(
            f"can't show the layers of {printable(store)}: {reason or 'their server has died'}",
            "start again; see also: dmesg",
        )
    move_mount(tree, b"", AT_FDCWD, (place or store) + b"/" + SHOWN, MOVE_MOUNT_F_EMPTY_PATH)
    os.close(tree)


class _LayerServer:
    """The server of the layers of ``stores``, which are storage directories."""

    __slots__ = ("_channel", "_stores")

    def __init__(self, stores: Sequence[bytes], *, tells: bool) -> None:
        """Start the server; call it before the process enters its namespaces.

        ``tells`` is as of ``start_server``.  Raises OSError.
        """
        self._stores = stores
        is_single = len(stores) == 1
        layers = [*map(open_layers, stores)]
        self._channel = start_server(layers, is_single=is_single, tells=tells)

    def show(self) -> None:
        """Mount the layers of each store; call it in the namespaces.  Raises SundogError."""
        for index, store in enumerate(self._stores):
            show_store(self._channel, index, store)
        self._channel.close()


def enter_with(trees: Iterable[bytes], enter: Callable[[], None]) -> None:
    """Call ``enter``, which moves this process into namespaces of its own; show ``trees`` there.

    Raises what ``enter`` raises, SundogError and OSError.
    """
    trees = list(trees)
    stores = stores_of(trees)
    server = _LayerServer(stores, tells=not are_complete(trees)) if stores else None
    enter()
    if server is not None:
        server.show()
        _check_places(trees)


def _check_places(trees: Iterable[bytes]) -> None:
    """Raise StoreError if one of ``trees`` is of a blob in a layout that can't be read now."""
    for tree in trees:
        try:
            os.stat(tree)
        except OSError:
            check_place(tree.rpartition(b"/")[0])
