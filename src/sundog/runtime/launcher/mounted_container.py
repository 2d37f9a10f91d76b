"""A container that is mounted, and that nobody has entered."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
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
