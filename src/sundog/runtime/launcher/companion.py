"""The protocols of processes that stay beside the command."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from sundog.base.record.identity import Identity
    from sundog.runtime.container.operations import Operation
    from sundog.runtime.container.plan import Plan
    from sundog.runtime.container.variables import Environment
    from sundog.runtime.launcher.image import Image
    from sundog.runtime.supervision.membership import GroupChannel

    # Installs the filter by calling the argument, and becomes the command; returns if that fails.
    Become = Callable[[Callable[[], None] | None], int]

    class Companion(Protocol):
        """Decides which processes stay beside the command, if any.

        ``mounts`` are what it shows to the command, over all other mounts.
        """

        def mounts(self) -> Sequence[Operation]: ...  # noqa: D102

        def prepare(  # noqa: D102
            self, image: Image | None, plan: Plan | None, channel: GroupChannel | None, /
        ) -> PreparedCompanion: ...

    class PreparedCompanion(Protocol):
        """A companion that has opened what it needs of the host, before the change of root.

        In the container, ``preload`` may add to the variables of the command.
        """

        def preload(  # noqa: D102
            self, command: list[bytes], environment: Environment, /
        ) -> None: ...

        def identify(self) -> Identity | None: ...  # noqa: D102
        def attend(self, who: Identity | None, become: Become, /) -> int: ...  # noqa: D102
