"""Ask who really owns a file: a process outside of the user namespace knows it.

In the namespace of one user, the files of all other users show the same ID.  So with -u a child
stays outside.  The supervisor sends it a descriptor of the file, and the child returns the owner
that the host shows.
"""

from __future__ import annotations

import os

from sundog.base.cpython import AF_UNIX, SOCK_STREAM, Struct, socketpair
from sundog.runtime.container.leaving import leave_caller
from sundog.runtime.emulation.notify.seccomp.listener import receive_descriptor, send_descriptor
from sundog.runtime.launcher.orphan import fork_away

_OWNER_REPLY = Struct("=II")


class RealOwners:
    """A process outside of the namespace, which ends with the last holder of ``channel``."""

    __slots__ = ("channel",)

    def __init__(self) -> None:
        """Start the process.  Raises OSError."""
        ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
        self.channel, their_channel = ours.detach(), theirs.detach()
        fork_away(lambda: _answer_owners(their_channel))
        os.close(their_channel)

    def ask(self, fd: int) -> tuple[int, int]:
        """Return user and group of an open file.  Raises OSError."""
        send_descriptor(self.channel, fd)
        reply = os.read(self.channel, _OWNER_REPLY.size)
        if len(reply) != _OWNER_REPLY.size:
            raise OSError(0, "the process that knows real owners has ended")
        uid, gid = _OWNER_REPLY.unpack(reply)
        return uid, gid


def _answer_owners(channel: int) -> None:
    """Answer until nobody holds the other end of ``channel``."""
    leave_caller((channel,), b"sundog-owners")
    while True:
        fd = receive_descriptor(channel)
        if fd < 0:
            return
        status = os.fstat(fd)
        os.close(fd)
        os.write(channel, _OWNER_REPLY.pack(status.st_uid, status.st_gid))
