"""Start the process that fetches what is not here of layers: see ``layer_fetcher``."""

from __future__ import annotations

import os
from posix import environ

from sundog.base.kernel.files import Closing
from sundog.base.kernel.process import fork
from sundog.base.kernel.stub import await_child, discard_child_signal
from sundog.runtime.fuse.channel import make_channel
from sundog.runtime.fuse.fetch_messages import FETCH_CHANNEL
from sundog.runtime.process.sibling import spawn_sibling

_FETCHER_MODULE = b"sundog.front.cli.fetcher"


def start_fetcher() -> tuple[int, int]:
    """Start the process; return the channel to it, and its ID: -1 if it can't be started."""
    ours, theirs = make_channel()
    with Closing(theirs):
        try:
            return ours, spawn_sibling(_FETCHER_MODULE, (), environ, [(theirs, FETCH_CHANNEL)])
        except OSError:  # no memory, say
            return ours, -1


def start_orphan_fetcher() -> int:
    """Start the process, as a child of nobody here; return the channel to it, -1 if that fails.

    It loads its modules while others find out what there is to fetch, and ends with the channel.
    Call it before a thread exists.
    """
    ours, theirs = make_channel()
    try:
        between = fork()
    except OSError:  # no memory, say
        os.close(ours)
        os.close(theirs)
        return -1
    if between == 0:
        # The command must not have a child that it does not know: see ``starting``.
        try:
            os.setsid()
            os.chdir(b"/")  # as a server does
            spawn_sibling(_FETCHER_MODULE, (), environ, [(theirs, FETCH_CHANNEL)])
        finally:
            os._exit(0)
    await_child(between)
    discard_child_signal()
    os.close(theirs)
    return ours
