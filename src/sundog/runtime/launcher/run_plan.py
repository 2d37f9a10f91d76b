"""The plan of mounts of ``ch-run``: the host's files that its container sees."""

from __future__ import annotations

from sundog.runtime.container.operations import (
    CREATED,
    DESIRED,
    OPTIONAL,
    REQUIRED,
    Bind,
    DetachedMount,
    TmpfsMount,
)
from sundog.runtime.container.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.runtime.container.hidden import Hidden
    from sundog.runtime.container.operations import Operation
    from sundog.runtime.container.overlay_directories import OverlayDirectory
    from sundog.runtime.container.root import Root
    from sundog.runtime.launcher.option_values import ImageOptions
    from sundog.runtime.launcher.part import Part

# The host's files that every container sees, in this order.  The user may write to them as on the
# host.
REQUIRED_BINDS = (b"/dev", b"/proc", b"/sys")
OPTIONAL_BINDS = (
    b"/etc/hosts",
    b"/etc/machine-id",
    b"/etc/resolv.conf",
    b"/var/lib/hugetlbfs",
    b"/var/spool/slurmd",
)
# Only containers of Apptainer show it, in place of a link there.
LOCAL_TIME = b"/etc/localtime"
# Cray's workload manager and network.  Without CRAY_DIRECTORY a start saves seven look-ups.
CRAY_DIRECTORY = b"/opt/cray"
CRAY_BINDS = (
    b"/etc/opt/cray/wlm_detect",
    b"/opt/cray/wlm_detect",
    b"/opt/cray/alps",
    b"/opt/cray/udreg",
    b"/opt/cray/ugni",
    b"/opt/cray/xpmem",
    b"/var/opt/cray/alps",
)


def needed(image: ImageOptions) -> str:
    """Return how much a container needs what it shows in any case.

    An overlay gets the missing mount points, so the image does not change.
    """
    is_kept = image.container or image.is_overlaid
    return REQUIRED if image.overlay_size is None and not is_kept else CREATED


def host_files(
    need: str, *, cray: bool, own: Sequence[bytes] = (), devices: Operation | None = None
) -> list[Operation]:
    """Return the binds of the host's files that every container sees; ``cray``: on a Cray.

    ``devices`` take the place of the host's /dev.
    ``own`` are files that take the place of what is at their path, also of a link.
    """
    optional = OPTIONAL_BINDS + CRAY_BINDS if cray else OPTIONAL_BINDS
    found: list[Operation] = [Bind(path, path, need) for path in REQUIRED_BINDS]
    if devices is not None:
        found[REQUIRED_BINDS.index(b"/dev")] = devices
    found += [Bind(path, path, OPTIONAL) for path in optional]
    return found + [Bind(path, path, DESIRED, covers_link=True) for path in own]


def mounts_of(parts: Sequence[Part]) -> list[Operation]:
    """Return the mounts of all ``parts`` in their order, in which each lies over earlier ones."""
    operations = [mount for part in parts for mount in part.plan()]
    if any(isinstance(mount, TmpfsMount) for mount in operations):
        for place, mount in enumerate(operations):
            if isinstance(mount, DetachedMount):
                mount.follow(operations[:place])
    return operations


def build_plan(
    root: Root,
    operations: Sequence[Operation],
    hidden: Hidden,
    image: ImageOptions,
    overlays: Sequence[OverlayDirectory] = (),
) -> Plan:
    """Return the plan for the image ``root``: its own mounts, and ``operations``.

    ``overlays`` are the directories that are part of the root.
    """
    own = [
        Bind(source, b"/" + inside, writable=False, is_own=True) for source, inside in root.binds
    ]
    return Plan(
        root,
        [*own, *operations],
        writable=image.write,
        overlay_size=image.overlay_size,
        hidden=hidden,
        overlays=overlays,
    )
