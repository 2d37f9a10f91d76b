"""Find out whether overlayfs does here what the ``overlay`` driver needs.

Version numbers would not tell: there are too many file systems, kernels and site policies.  The
probe mounts a real overlay as the user, changes it in each of the ways that a RUN does, reads the
marks that this leaves, and mounts the result again as a layer.
"""

from __future__ import annotations

import os
import stat

from sundog.base.kernel.files import Closing
from sundog.errors import KernelError
from sundog.runtime.container.root import OverlayRoot
from sundog.runtime.steps.step import in_root

COPY = "copy"  # the driver that works without overlayfs
_OPAQUE = "user.overlay.opaque"
# If one of these calls fails, ``copy`` cannot work either: the user has to see the error.
_HOPELESS_CALLS = ("unshare", "write")


def probe(place: bytes) -> tuple[str, str]:
    """Return the driver that works in the file system of ``place``, an empty directory; say why.

    Raises KernelError when user namespaces are refused: then no driver works.
    """
    for name in (b"lower/old", b"lower/replaced", b"empty", b"upper", b"work", b"again", b"work2"):
        os.makedirs(os.path.join(place, name))
    for name in (b"lower/removed", b"lower/appended", b"lower/replaced/hidden"):
        with open(os.path.join(place, name), "wb") as file:
            file.write(b"below")
    try:
        in_root([OverlayRoot(place, [b"lower"], b"upper", b"work", volatile=True)], _change)
        reason = _missing_mark(os.path.join(place, b"upper"))
        if not reason:
            stack = [b"upper", b"lower"]
            reason = in_root([OverlayRoot(place, stack, b"again", b"work2")], _misread)
    except KernelError as error:
        if error.call in _HOPELESS_CALLS:
            raise
        reason = error.message
    except OSError as error:
        reason = f"overlayfs does not work on this file system: {error.strerror}"
    return (COPY, reason) if reason else ("overlay", "overlayfs does all that is needed here")


def _change(roots: list[int]) -> None:
    """Change an overlay in the ways that a RUN may."""
    root = roots[0]
    os.unlink("removed", dir_fd=root)
    with open(os.open("appended", os.O_WRONLY | os.O_APPEND, dir_fd=root), "wb") as file:
        file.write(b" above")
    os.unlink("replaced/hidden", dir_fd=root)
    os.rmdir("replaced", dir_fd=root)
    os.mkdir("replaced", dir_fd=root)
    os.mkdir("new", dir_fd=root)
    os.rename("new", "renamed", src_dir_fd=root, dst_dir_fd=root)


def _missing_mark(upper: bytes) -> str:
    """Say which mark of ``_change`` is missing or unknown in the upper directory; "" if none is."""
    status = os.lstat(os.path.join(upper, b"removed"))
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != 0:
        return "overlayfs marks deleted files in an unknown way"
    if os.getxattr(os.path.join(upper, b"replaced"), _OPAQUE) != b"y":
        return "overlayfs marks replaced directories in an unknown way"
    with open(os.path.join(upper, b"appended"), "rb") as file:
        if file.read() != b"below above":
            return "overlayfs does not copy files up"
    if not os.path.isdir(os.path.join(upper, b"renamed")):
        return "overlayfs does not rename directories"
    return ""


def _misread(roots: list[int]) -> str:
    """Say what is wrong with the upper directory of ``_change`` as a lower layer; "" if nothing."""
    if _listed(".", roots[0]) != ["appended", "old", "renamed", "replaced"]:
        return "overlayfs does not heed whiteouts of a lower layer"
    if _listed("replaced", roots[0]):
        return "overlayfs does not heed opaque directories of a lower layer"
    return ""


def _listed(path: str, root: int) -> list[str]:
    with Closing(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)) as fd:
        return sorted(os.listdir(fd))
