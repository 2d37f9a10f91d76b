"""The container as one that other processes share: --join and --join-pid."""

from __future__ import annotations

from sundog.runtime.launcher.part import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.cpython import socket
    from sundog.runtime.launcher.request import Request
    from sundog.runtime.supervision.membership import GroupChannel


class Sharing(Part):
    """A container that processes may share; this class is one that no other process shares.

    namespaces  those to enter, [] if this process has to make the container
    keeper      the connection to the keeper that this process has started, or None
    channel     leads to the supervisor of --notify that processes share, or None
    """

    __slots__ = ("channel", "keeper", "namespaces")

    def __init__(self) -> None:
        super().__init__()
        self.channel: GroupChannel | None = None
        self.keeper: socket | None = None
        self.namespaces: list[int] = []

    def run(self, request: Request, home: Part) -> int:
        """Run the command of ``request`` in the container, if it has namespaces to enter."""
        raise NotImplementedError
