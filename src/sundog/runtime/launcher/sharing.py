"""The container as one that other processes share: --join and --join-pid."""

import os

from sundog.base.kernel.namespaces import CLONE_NEWNS, CLONE_NEWUSER, setns
from sundog.base.kernel.process import set_dumpable
from sundog.runtime.container.enter import forbid_imports
from sundog.runtime.launcher.part import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.launcher.request import Request
    from sundog.runtime.supervision.membership import GroupChannel


class Sharing(Part):
    """A container that processes may share; this class is one that no other process shares.

    namespaces  those to enter, [] if this process has to make the container
    channel     leads to the supervisor of --notify that processes share, or None
    may_begin   whether this process may make the container
    """

    __slots__ = ("channel", "may_begin", "namespaces")

    def __init__(self) -> None:
        super().__init__()
        self.channel: GroupChannel | None = None
        self.may_begin = True
        self.namespaces: list[int] = []

    def enter(self) -> None:
        """Enter the container; this process is then in its root directory.

        The process imports nothing afterwards, and must become the command.  Raises KernelError.
        """
        forbid_imports()
        set_dumpable(False)
        for fd, kind in zip(self.namespaces, (CLONE_NEWUSER, CLONE_NEWNS), strict=True):
            setns(fd, kind)
            os.close(fd)


def sharing_of(request: "Request") -> Sharing:
    """Return the container that --join or --join-pid names, if any.  Few starts load the rest."""
    line, messages = request.line, request.messages
    if line.dry:
        return Sharing()
    if not line.join and line.join_pid is None:
        messages.verbose("join: 0 0 (null) 0")
        return Sharing()
    from sundog.runtime.launcher.join import group_for  # noqa: PLC0415

    return group_for(line, request.environment, messages, is_attended=request.is_attended)
