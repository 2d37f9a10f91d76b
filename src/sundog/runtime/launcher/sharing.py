"""The container as one that other processes share: --join and --join-pid."""

from sundog.runtime.launcher.part import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.launcher.request import Request
    from sundog.runtime.supervision.membership import GroupChannel


class Sharing(Part):
    """A container that processes may share; this class is one that no other process shares.

    namespaces  those to enter, [] if this process has to make the container
    channel     leads to the supervisor of --notify that processes share, or None
    """

    __slots__ = ("channel", "namespaces")

    def __init__(self) -> None:
        super().__init__()
        self.channel: GroupChannel | None = None
        self.namespaces: list[int] = []

    def run(self, request: "Request", home: Part) -> int:
        """Run the command of ``request`` in the container, if it has namespaces to enter."""
        raise NotImplementedError


def sharing_of(request: "Request") -> Sharing:
    """Return the container that --join or --join-pid names, if any.  Few starts load the rest."""
    line, messages = request.line, request.messages
    if line.dry:
        return Sharing()
    if not line.group.is_joined and line.group.pid is None:
        messages.verbose("join: 0 0 (null) 0")
        return Sharing()
    from sundog.runtime.launcher.join import group_for  # noqa: PLC0415

    return group_for(line, request.environment, messages, is_attended=request.is_attended)
