"""Functions that run as in the tree worker: as mock root in a user and mount namespace."""

from __future__ import annotations

import os
import pickle
import traceback
from typing import TYPE_CHECKING, TypeVar

from sundog.base.kernel.mounts import MNT_DETACH, mount, umount2
from sundog.base.kernel.namespaces import CLONE_NEWNS, CLONE_NEWUSER, unshare, write_id_maps
from sundog.base.kernel.overlay import overlay_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

from contextlib import contextmanager

T = TypeVar("T")


def in_namespace(function: Callable[[], T]) -> T:
    """Return the result of ``function`` in the namespaces, or raise its exception."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            uid, gid = os.geteuid(), os.getegid()
            unshare(CLONE_NEWUSER | CLONE_NEWNS)
            write_id_maps(0, 0, uid, gid)
            try:
                outcome: tuple[bool, object] = (True, function())
            except BaseException as error:  # the parent raises every exception
                error.add_note(traceback.format_exc())
                outcome = (False, error)
            with open(writer, "wb") as out:
                pickle.dump(outcome, out)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as file:
        data = file.read()
    assert os.waitpid(child, 0)[1] == 0, "the child failed before the function"
    succeeded, result = pickle.loads(data)
    if not succeeded:
        raise result
    return result  # type: ignore[no-any-return]


@contextmanager
def mounted(
    lowers: Sequence[bytes], place: bytes, *, upper: bytes | None = None, work: bytes | None = None
) -> Iterator[bytes]:
    """Mount an overlay of ``lowers``, the topmost first, on the new directory ``place``."""
    os.mkdir(place)
    names = list(lowers)
    if upper is None and len(names) == 1:
        os.mkdir(place + b".empty")
        names.append(place + b".empty")
    mount(b"overlay", place, b"overlay", 0, overlay_data(names, upper, work))
    try:
        yield place
    finally:
        umount2(place, MNT_DETACH)
        os.rmdir(place)
