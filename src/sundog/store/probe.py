"""Find out whether overlayfs does here what the ``overlay`` driver needs.

Not by version numbers: file systems, kernels and site policies are too many.  A real overlay is
mounted as the user, changed in each of the ways that a RUN changes one, and the marks that this
leaves are read back and mounted again as a layer.
"""

from __future__ import annotations

import os
import stat

from sundog.container.root import OverlayRoot
from sundog.container.step import in_root
from sundog.errors import KernelError
from sundog.kernel.files import Closing

_OPAQUE = "user.overlay.opaque"
# Of these nothing is left that ``copy`` could do either: the error is the user's to see.
_HOPELESS_CALLS = ("unshare", "write")


def probe(place: bytes) -> tuple[str, str]:
    """Return the driver that works in the file system of ``place``, an empty directory, and why.

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
    return ("copy", reason) if reason else ("overlay", "overlayfs does all that is needed here")


def _change(roots: list[int]) -> None:
    """Change an overlay as a RUN may."""
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
    """Say which mark of ``_change`` is not in the upper directory as it should be; "" if none."""
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
    """Say what is wrong when the upper directory of ``_change`` is mounted as a layer."""
    if _listed(".", roots[0]) != ["appended", "old", "renamed", "replaced"]:
        return "overlayfs does not heed whiteouts of a lower layer"
    if _listed("replaced", roots[0]):
        return "overlayfs does not heed opaque directories of a lower layer"
    return ""


def _listed(path: str, root: int) -> list[str]:
    with Closing(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)) as fd:
        return sorted(os.listdir(fd))
