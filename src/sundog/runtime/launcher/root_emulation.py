"""Root emulation of the command: a supervisor beside it, the filter of --seccomp, or none."""

from __future__ import annotations

import os

from sundog.runtime.emulation.filter import install_fake_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.record.identity import Identity
    from sundog.runtime.container.operations import Operation
    from sundog.runtime.container.plan import Plan
    from sundog.runtime.container.variables import Environment
    from sundog.runtime.launcher.companion import Become, Companion
    from sundog.runtime.launcher.image import Image
    from sundog.runtime.launcher.messages import Messages
    from sundog.runtime.launcher.options import CommandLine
    from sundog.runtime.supervision.membership import GroupChannel


class _Unattended:
    """The companion of most starts: no process stays beside the command.

    The command replaces ``ch-run``, with the filter of --seccomp or with none.
    """

    __slots__ = ("_seccomp",)

    def __init__(self, *, seccomp: bool) -> None:
        self._seccomp = seccomp

    def prepare(
        self, _image: Image | None, _plan: Plan | None, _channel: GroupChannel | None
    ) -> _Unattended:
        """Return itself: it needs nothing of the host."""
        return self

    def mounts(self) -> tuple[Operation, ...]:
        """Return (): it shows nothing."""
        return ()

    def preload(self, _command: list[bytes], _environment: Environment) -> None:
        """Do nothing: the command loads what it loads."""

    def identify(self) -> None:
        """Return None: no supervisor emulates a user."""

    def attend(self, _who: Identity | None, become: Become) -> int:
        """Become the command."""
        return become(install_fake_root if self._seccomp else None)


def chosen_companion(
    line: CommandLine, environment: Environment, messages: Messages
) -> tuple[Companion, bool]:
    """Return the companion of the command, and whether it is a supervisor, which --notify wants.

    If no supervisor is possible, the filter of --seccomp takes its place.
    """
    emulation = line.emulation
    attendant = _load_attendant(line, environment, messages) if emulation.notify else None
    if attendant is not None:
        return attendant, True
    return _Unattended(seccomp=emulation.seccomp or emulation.notify), False


def chosen_ids(line: CommandLine, *, is_attended: bool) -> tuple[int, int]:
    """Return the uid and the gid of the user namespace, outside of root emulation."""
    if is_attended:
        return 0, 0  # the supervisor emulates -u and -g
    identity = line.identity
    is_root = line.emulation.notify and not identity.is_rank
    uid, gid = (0, 0) if is_root else (os.geteuid(), os.getegid())
    if identity.uid is not None:
        uid = identity.uid
    return uid, gid if identity.gid is None else identity.gid


def _load_attendant(
    line: CommandLine, environment: Environment, messages: Messages
) -> Companion | None:
    """Return the supervisor for --notify; None if it is not possible.  Few starts load it."""
    from sundog.runtime.launcher.notify import attendant_for

    return attendant_for(line, environment, messages)
