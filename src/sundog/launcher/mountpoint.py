"""Find and make mount points in a container's root, never outside of it.

The calling process has already changed its root, so "/" and absolute symbolic links mean the
container's.  What could still lead out is a link of proc(5) such as ``/proc/1/root``: it is never
followed where something is created, and no directory is created on another mount, because that is
a directory of the host, bound there.

Floor 0.
"""

import errno
import os

from sundog.errors import KernelError, SundogError
from sundog.kernel.libc import kernel_error, printable
from sundog.kernel.mounts import AT_FDCWD, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_XDEV, openat2

INSIDE = RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV


def make_mount_point(path: bytes, *, is_directory: bool) -> None:
    """Make ``path``, an empty directory or file, with the directories above it.

    Symbolic links on the way are followed.  Raises SundogError where ``path`` cannot be made.
    """
    names = [name for name in path.split(b"/") if name not in (b"", b".")]
    here = b"/"
    try:
        parent = openat2(AT_FDCWD, here, os.O_PATH | os.O_DIRECTORY, INSIDE)
        for index, name in enumerate(names):
            here = b"/" + b"/".join(names[: index + 1])
            try:
                child = openat2(AT_FDCWD, here, os.O_PATH, INSIDE)
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    raise
                last = index == len(names) - 1
                child = make_entry(parent, name, is_directory=is_directory or not last)
            os.close(parent)
            parent = child
        os.close(parent)
    except FileExistsError:
        # It does not lead anywhere, and yet it is there.
        raise SundogError(f"can't bind: broken symlink: {printable(here)}") from None
    except (OSError, KernelError) as error:
        fault, hint = MOUNT_POINT_FAULTS.get(error.errno or 0, ("", ""))
        if not fault:
            raise kernel_error("mkdir", here, error.errno or 0) from None
        raise SundogError(f"can't bind: {printable(path)} {fault}", hint) from None


def make_entry(parent: int, name: bytes, *, is_directory: bool) -> int:
    """Make a directory or file ``name`` in ``parent``; return it, with O_PATH.  Raises OSError."""
    if is_directory:
        os.mkdir(name, 0o755, dir_fd=parent)
    else:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o644, dir_fd=parent))
    return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


MOUNT_POINT_FAULTS = {
    errno.EXDEV: (
        "is missing below another mount, and nothing is created there",
        "create it on the host first, or choose a destination in the image itself",
    ),
    errno.EROFS: (
        "is not in the image, which is read-only",
        "-W lets it be created for this one run",
    ),
    errno.ENOTDIR: ("is below something that is no directory", ""),
    errno.ELOOP: ("leads through too many symlinks, or through one of /proc", ""),
}
