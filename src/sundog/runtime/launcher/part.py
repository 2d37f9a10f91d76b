"""The parts of a start, which act at the moments of ``main._launch``, and the container for them.

No part knows another.  ``main._shown_parts`` decides whose mounts lie over whose.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.runtime.container.operations import Operation
    from sundog.runtime.container.plan import Plan
    from sundog.runtime.launcher.image import Image


class MountedContainer:
    """A container that is mounted, and that this process has not entered yet.

    plan        all its mounts
    directory   its root directory
    operations  those of the plan that are still to be attached, in it
    """

    __slots__ = ("directory", "image", "operations", "plan")

    def __init__(
        self, image: Image, plan: Plan, directory: int, operations: list[Operation]
    ) -> None:
        self.image = image
        self.plan = plan
        self.directory = directory
        self.operations = operations

    def add(self, operations: list[Operation]) -> None:
        """Add mounts over all others, whose sources are at hand."""
        self.operations += operations
        self.plan.operations += operations


class Part:
    """A part of a start: an option, for example.

    This class has ``mounts`` and variables of the command, and does nothing else.  Without both, it
    is the part of an option that is not given.

    The first moment is ``__init__``, outside of all namespaces: the part asks the host, or starts
    a process there.  The others follow in the order of the methods.  If the container exists
    already (--join), only ``variables`` follows.
    """

    __slots__ = ("_mounts", "_variables")

    def __init__(
        self,
        mounts: Sequence[Operation] = (),
        variables: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self._mounts = mounts
        self._variables = variables

    def plan(self) -> Sequence[Operation]:
        """Return the mounts of this part, in order."""
        return self._mounts

    def mounted(self, container: MountedContainer) -> None:
        """Finish what needs the mounted image and the host.  The process is in the namespaces."""

    def entered(self) -> None:
        """Act in the container's root directory.  Nothing can be imported any more."""

    def variables(self) -> Sequence[tuple[bytes, bytes]]:
        """Return variables of the command, before the command line's options change them."""
        return self._variables
