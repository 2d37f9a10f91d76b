"""Make the mount points that a read-only root lacks, in one more layer on top of it.

The layer is a directory of the scratch tmpfs.  It holds the missing mount points, and the
directories that lead to them with the modes and times that the root shows.  An overlay of the layer
and of the root's own layers takes the root's place.  It has no upper, so it stays read-only.  No
file system of the host changes.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import (
    AT_FDCWD,
    MOVE_MOUNT_F_EMPTY_PATH,
    MS_RDONLY,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    move_mount,
    openat2,
)
from sundog.base.kernel.overlay import mount_layers
from sundog.errors import KernelError, SundogError
from sundog.runtime.container.enter import topmost_mount
from sundog.runtime.container.mountpoint import components, reserve_mount_points
from sundog.runtime.container.operations import MADE
from sundog.runtime.container.paths import OPEN_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.container.operations import Operation
    from sundog.runtime.container.root import Root


def add_missing_points(
    root: Root,
    directory: int,
    scratch: int,
    operations: list[Operation],
    told: Callable[[str], None],
) -> int:
    """Give the mounted, read-only ``root`` the mount points that ``operations`` make.

    ``directory`` is the root's directory, the topmost mount at "/".  Returns the directory that
    takes its place: itself if nothing is missing, or if the root's file system can't be a layer.
    In the second case ``told`` gets the reason, and attaching an operation will report an error.
    May change the working directory.
    """
    missing = _missing_points(directory, operations)
    if not missing:
        return directory
    place = b"/proc/self/fd/%d/" % scratch
    layer, stack, below = place + b"missing", place + b"stack", place + b"below"
    names = ", ".join([printable(operation.destination) for operation in missing])
    try:
        os.mkdir(layer)
        os.mkdir(stack)
        with Closing(os.open(layer, OPEN_DIRECTORY)) as fd:
            reserve_mount_points([each.mount_point() for each in missing], directory, fd)
        if not os.listdir(layer):
            return directory  # attaching will say why nothing can be made
        _copy_attributes(layer, directory, b".")
        base, lowers = root.lowers()
        os.chdir(base)
        mount_layers(stack, [layer, *lowers], flags=MS_RDONLY, xino=True)
    except (SundogError, OSError) as error:
        told(f"can't make {names} in a layer on top of the image: {error}")
        return directory
    # It stays a mount of this namespace: a supervisor copies that of an image that is one file.
    os.mkdir(below)
    move_mount(directory, b"", AT_FDCWD, below, MOVE_MOUNT_F_EMPTY_PATH)
    move_mount(AT_FDCWD, stack, AT_FDCWD, b"/", 0)
    told(f"made {names} in a layer on top of the image")
    return topmost_mount()


def _missing_points(directory: int, operations: list[Operation]) -> list[Operation]:
    """Return the operations whose mount points must be made, and are not in ``directory``.

    Leaves out mount points below an earlier one, because there the container shows another mount.
    """
    missing = []
    covered: set[tuple[bytes, ...]] = set()
    absent: set[bytes] = set()  # directories in which all is missing
    for operation in operations:
        names = tuple(components(operation.destination))
        is_below = any(names[:end] in covered for end in range(len(names) + 1))
        covered.add(names)
        if is_below or operation.need not in MADE:
            continue
        parent, _, _ = operation.destination.rpartition(b"/")
        if parent in absent or not _leads_to_file(directory, operation.destination):
            missing.append(operation)
            if parent and parent not in absent and not _leads_to_file(directory, parent):
                absent.add(parent)
    return missing


def _leads_to_file(directory: int, path: bytes) -> bool:
    """Tell whether ``path`` is in ``directory``, or can't be looked up there."""
    try:
        os.close(openat2(directory, path, os.O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS))
    except KernelError as error:
        return error.errno != errno.ENOENT
    return True


def _copy_attributes(layer: bytes, directory: int, path: bytes) -> None:
    """Give ``path`` below ``layer``, and all below it, the modes and times of ``directory``."""
    try:
        status = os.lstat(path, dir_fd=directory)
    except FileNotFoundError:
        return
    made = layer + b"/" + path
    for name in os.listdir(made):
        _copy_attributes(layer, directory, path + b"/" + name)
    os.chmod(made, status.st_mode & 0o7777)
    os.utime(made, ns=(status.st_atime_ns, status.st_mtime_ns))
