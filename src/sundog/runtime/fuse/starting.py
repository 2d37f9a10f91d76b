"""Start the server, as a process of its own that is no child of this one."""

from __future__ import annotations

import os

from sundog.base.kernel.files import STDERR_FILENO
from sundog.base.kernel.process import fork
from sundog.base.kernel.stub import await_child, discard_child_signal
from sundog.runtime.fuse.channel import Channel, make_channel
from sundog.runtime.fuse.messages import FAILED
from sundog.runtime.fuse.process import become_server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.record.start_record import StartRecord


def start_server(
    images: Sequence[tuple[int, int]],
    *,
    is_single: bool,
    tells: bool = False,
    record: StartRecord | None = None,
    fetcher: int = -1,
) -> Channel:
    """Start the server of ``images``, as for ``server.ImageServer``; return the channel to it.

    ``tells``: it has standard error, for layers that are not all here, until this process ends.
    ``fetcher`` is the channel to a process that fetches for them, or -1.  Closes the descriptors in
    ``images`` and ``record``, and ``fetcher``.  Call it before the process enters its
    namespaces.  Raises OSError.
    """
    caller = os.pidfd_open(os.getpid()) if tells else -1
    ours, theirs = make_channel()
    given = () if record is None else (record,)
    between = fork()
    if between == 0:
        # The command must not have a child that it does not know.  So the server's parent ends.
        try:
            os.setsid()
            if fork() == 0:
                _be_server(
                    *(theirs, images, caller), is_single=is_single, record=record, fetcher=fetcher
                )
        except Exception as error:
            Channel(theirs).send(FAILED + f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    await_child(between)
    discard_child_signal()
    os.close(theirs)
    for fd in (caller, fetcher, *(fd for fd, *_ in (*images, *given))):
        if fd >= 0:
            os.close(fd)
    return Channel(ours)


def _be_server(
    channel: int,
    images: Sequence[tuple[int, int]],
    caller: int,
    *,
    is_single: bool,
    record: StartRecord | None,
    fetcher: int,
) -> None:
    """Be the server.  Never returns normally."""
    kept = [channel, *(fd for fd, _ in images)]
    if caller >= 0:
        kept += [STDERR_FILENO, caller]
    if record is not None:
        kept.append(record[0])
    if fetcher >= 0:
        kept.append(fetcher)
    become_server(kept)
    from sundog.runtime.fuse.server import ImageServer  # noqa: PLC0415 - the other process's

    ImageServer(
        *(channel, images, caller), is_single=is_single, record=record, fetcher=fetcher
    ).run()
