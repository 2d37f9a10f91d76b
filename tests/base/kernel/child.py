"""Run a function in a forked child, because a test must not change its own process."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
import warnings
from typing import TYPE_CHECKING, TypeVar, cast

from sundog.base.kernel.mounts import MS_PRIVATE, MS_REC, mount
from sundog.base.kernel.namespaces import CLONE_NEWNS, CLONE_NEWUSER, unshare, write_id_maps

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def in_child(function: Callable[[], T]) -> T:
    """Return what ``function`` returns in a child process; fail with its traceback if it raises."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # The test runner may have threads.  The child uses nothing that they could have locked.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reader)
            try:
                answer: tuple[bool, object] = (True, function())
            except BaseException:
                answer = (False, traceback.format_exc())
            with open(writer, "wb") as pipe:
                pickle.dump(answer, pipe)
            status = 0
        finally:
            sys.stdout.flush()
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with wait status {status}"
    succeeded, result = pickle.loads(data)
    assert succeeded, f"in the child:\n{result}"
    return cast("T", result)


def in_namespaces(function: Callable[[], T], *, uid: int = 0, gid: int = 0) -> T:
    """Return what ``function`` returns as user ``uid`` in new user and mount namespaces."""

    def enter() -> T:
        outside_uid, outside_gid = os.geteuid(), os.getegid()
        unshare(CLONE_NEWUSER | CLONE_NEWNS)
        write_id_maps(uid, gid, outside_uid, outside_gid)
        mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
        return function()

    return in_child(enter)
