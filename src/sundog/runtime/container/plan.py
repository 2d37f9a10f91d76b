"""The plan of mounts: the parts of a container's file system, as data.

Building a plan needs no system call, so that it can be printed (-vv) and tested.  Executing it
needs the namespaces of ``enter.py``.
"""

from __future__ import annotations

import errno

from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import MNT_DETACH, umount2
from sundog.errors import KernelError, SundogError
from sundog.runtime.container.enter import change_root, mount_scratch
from sundog.runtime.container.hidden import Hidden
from sundog.runtime.container.operations import MADE, SKIPPED
from sundog.runtime.container.root import mount_overlaid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.runtime.container.operations import Operation
    from sundog.runtime.container.overlay_directories import OverlayDirectory
    from sundog.runtime.container.root import Root


# The kernel has no overlayfs, or does not let this user mount one.
_OVERLAY_REFUSALS = (errno.ENODEV, errno.ENOSYS, errno.EPERM, errno.EACCES)


class Plan:
    """All mounts of a container: the root, then the ``operations`` in order.

    ``overlay_size`` puts a tmpfs of that size over the root; so the root is writable until the
    container ends.  ``scratch`` is the directory of that tmpfs once it is mounted.  ``is_copied``
    then says that the container sees a copy of the root, because the kernel refused an overlay.
    No bind shows what is ``hidden``.  ``overlays`` are the directories of --overlay in the root.
    """

    __slots__ = (
        "_hidden",
        "is_copied",
        "operations",
        "overlay_size",
        "overlays",
        "root",
        "scratch",
        "writable",
    )

    def __init__(
        self,
        root: Root,
        operations: list[Operation],
        *,
        writable: bool = False,
        overlay_size: bytes | None = None,
        hidden: Hidden | None = None,
        overlays: Sequence[OverlayDirectory] = (),
    ) -> None:
        self.overlays = overlays
        self._hidden = hidden or Hidden()
        self.root = root
        self.operations = operations
        self.writable = writable
        self.overlay_size = overlay_size
        self.scratch = -1
        self.is_copied = False

    def describe(self) -> list[str]:
        """Return the plan in lines, in the order of execution."""
        lines = [self.root.describe(writable=self.writable)]
        if self.overlay_size is not None:
            lines.append(f"overlay it with a tmpfs of size {printable(self.overlay_size)}")
        lines += self._hidden.describe()
        return lines + [operation.describe() for operation in self.operations]

    def mount(
        self, skipped: Callable[[str], None], warned: Callable[[str], None]
    ) -> tuple[int, list[Operation]]:
        """Take hold of all that the host has to show, and mount the root on top of the host's.

        The process must be in the namespaces of ``enter_namespaces``.  Returns the arguments of
        ``enter``.  If it fails, it leaves nothing behind and can be tried again.  ``skipped`` gets
        a message about each mount that is left out, and ``warned`` one about a copy of the root.
        Raises KernelError and SundogError.
        """
        is_overlaid = self.overlay_size is not None
        operations, held = self._acquire(skipped)
        scratch = self.scratch = self.mount_scratch()
        try:
            operations = _each(operations, lambda step: step.generate(scratch), skipped)
            if is_overlaid:
                directory = self._mount_overlaid(operations, warned)
            else:
                directory = self.root.mount(held)
        except (SundogError, OSError):
            umount2(b"/", MNT_DETACH)
            raise
        return directory, _each(operations, lambda step: step.inspect(directory, scratch), skipped)

    def _acquire(self, skipped: Callable[[str], None]) -> tuple[list[Operation], int]:
        """Take hold of the host's files; return the operations that could, and the held root.

        What lies in a hidden directory comes first.
        """
        own = [step for step in self.operations if step.is_own]
        done = _each(own, lambda step: step.acquire(), skipped)
        is_held, held = self.overlay_size is None, -1
        with self._hidden:
            others = [step for step in self.operations if not step.is_own]
            done += _each(others, lambda step: step.acquire(), skipped)
            if is_held and self._hidden.root:
                held = self.root.hold(writable=self.writable)
        if is_held and not self._hidden.root:
            held = self.root.hold(writable=self.writable)
        return [step for step in self.operations if step in done], held

    def _mount_overlaid(self, operations: list[Operation], warned: Callable[[str], None]) -> int:
        """Mount the root so that the container can write to it; return the directory."""
        made = [step.mount_point() for step in operations if step.need in MADE]
        try:
            return mount_overlaid(self.root, self.scratch, made)
        except KernelError as error:
            if error.errno not in _OVERLAY_REFUSALS:
                raise
            self.is_copied = True
            return _load_mount_copy()(self.root, self.scratch, error, warned)

    def mount_scratch(self) -> int:
        """Mount the tmpfs for -W and for generated files; return its directory."""
        if self.overlay_size is None:
            return mount_scratch()
        try:
            if b"," not in self.overlay_size:
                return mount_scratch(self.overlay_size)
        except KernelError as error:
            if error.errno != errno.EINVAL:
                raise
        raise SundogError(
            f"can't mount tmpfs for -W: not a size: {printable(self.overlay_size)}",
            "SIZE is a number of bytes, perhaps with k, m or g, or a percentage of the memory",
        )


def _load_mount_copy() -> Callable[..., int]:
    """Return the function that copies a root.  Few starts load it."""
    from sundog.runtime.container.private_copy import mount_copy  # noqa: PLC0415

    return mount_copy


def enter(directory: int, operations: list[Operation], skipped: Callable[[str], None]) -> None:
    """Make the mount from ``Plan.mount`` this process's root, and finish the plan inside."""
    change_root(directory)
    _each(operations, lambda step: step.attach(), skipped)


def _each(
    operations: list[Operation],
    act: Callable[[Operation], None],
    skipped: Callable[[str], None],
) -> list[Operation]:
    """Call ``act`` with each operation in turn; return those for which it succeeded.

    If an optional one fails, only ``skipped`` is told.
    """
    done = []
    for operation in operations:
        try:
            act(operation)
        except SundogError as error:
            if operation.need not in SKIPPED:
                raise
            skipped(f"skipped: {error}")
        else:
            done.append(operation)
    return done
