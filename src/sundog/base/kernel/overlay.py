"""The mount options of an overlay that an ordinary user may mount.

Specification: the kernel's ``Documentation/filesystems/overlayfs.rst``.  mount(2) takes one page of
options, so callers chdir first and give short, relative names.  If the names of the layers do not
fit, fsconfig(2) takes them one by one on newer kernels (``lowerdir+``).
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.mounts import (
    AT_FDCWD,
    FSCONFIG_CMD_CREATE,
    FSCONFIG_SET_FLAG,
    FSCONFIG_SET_STRING,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MS_RDONLY,
    fsconfig,
    fsmount,
    fsopen,
    mount,
    move_mount,
)
from sundog.base.kernel.numbers import linux_version
from sundog.errors import KernelError

# overlayfs gives up beyond this many lower directories: OVL_MAX_STACK.
_OVERLAY_LOWER_LIMIT = 500

# Beside the layers of an image, a container's overlay has the image's own files, the skeleton,
# perhaps a layer of missing mount points, and the directories of --overlay.
_OTHER_LOWERS = 12
_OTHER_OPTIONS = 512  # bytes of their names, of those of the upper and work, and of other options
_FIRST_LOWERS_ONE_BY_ONE = (6, 8)  # Linux: overlayfs.rst, "Specifying lower layers"


def mount_layers(
    place: bytes,
    lowers: list[bytes],
    upper: bytes | None = None,
    work: bytes | None = None,
    *,
    flags: int = 0,
    volatile: bool = False,
    xino: bool = False,
) -> None:
    """Mount an overlay on top of ``place``.

    ``flags`` are those of mount(2), the other arguments those of ``overlay_data``.  Raises
    KernelError (E2BIG) when the kernel does not take that many layers.
    """
    try:
        data = overlay_data(lowers, upper, work, volatile=volatile, xino=xino)
    except KernelError:
        context = -1
        if len(lowers) <= _OVERLAY_LOWER_LIMIT:
            context = _context_of_lowers(lowers)
        if context < 0:
            raise
    else:
        mount(b"sundog", place, b"overlay", flags, data)
        return
    try:
        options = [(b"source", b"sundog"), (b"index", b"off")]
        if upper is not None and work is not None:
            options += [(b"upperdir", upper), (b"workdir", work)]
        if xino:
            options.append((b"xino", b"on"))
        for key, value in options:
            fsconfig(context, FSCONFIG_SET_STRING, key, value)
        if volatile and upper is not None:
            fsconfig(context, FSCONFIG_SET_FLAG, b"volatile")
        fsconfig(context, FSCONFIG_CMD_CREATE)
        tree = fsmount(context, MOUNT_ATTR_RDONLY if flags & MS_RDONLY else 0)
    finally:
        os.close(context)
    move_mount(tree, b"", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH)
    os.close(tree)


def layers_limit(length: int) -> int:
    """Return how many layers, with names of this length, each container's overlay takes."""
    most = _OVERLAY_LOWER_LIMIT - _OTHER_LOWERS
    if linux_version() >= _FIRST_LOWERS_ONE_BY_ONE:
        return most
    return min(most, (os.sysconf("SC_PAGE_SIZE") - 1 - _OTHER_OPTIONS) // (length + len(b":")))


def _context_of_lowers(lowers: list[bytes]) -> int:
    """Return the descriptor of a new overlay that has ``lowers``; -1 if the kernel can't do it."""
    try:
        context = fsopen(b"overlay")
    except KernelError:
        return -1
    try:
        fsconfig(context, FSCONFIG_SET_FLAG, b"userxattr")
        for number, lower in enumerate(lowers):
            try:
                fsconfig(context, FSCONFIG_SET_STRING, b"lowerdir+", lower)
            except KernelError as error:
                if number or error.errno != errno.EINVAL:
                    raise
                os.close(context)
                return -1
    except KernelError:
        os.close(context)
        raise
    return context


def overlay_data(
    lowers: list[bytes],
    upper: bytes | None,
    work: bytes | None,
    *,
    volatile: bool = False,
    xino: bool = False,
) -> bytes:
    """Return the data of mount(2) for an overlay of ``lowers`` (topmost first) below ``upper``.

    Without ``upper`` and ``work`` the overlay is read-only and needs two lowers.  With ``volatile``
    it syncs nothing; ``xino`` keeps inode numbers unique and persistent.  Names may contain any
    character.
    Raises KernelError (E2BIG) when the options do not fit.
    """
    # index=off: the kernel's configuration must not decide how hard links are copied up.
    options = [b"userxattr,index=off", b"lowerdir=" + b":".join(map(_escape_option, lowers))]
    if upper is not None and work is not None:
        options += [b"upperdir=" + _escape_option(upper), b"workdir=" + _escape_option(work)]
        if volatile:
            options.append(b"volatile")
    if xino:
        options.append(b"xino=on")
    data = b",".join(options)
    limit = os.sysconf("SC_PAGE_SIZE") - 1
    if len(data) > limit or len(lowers) > _OVERLAY_LOWER_LIMIT:
        raise KernelError(
            "mount",
            "overlay",
            errno.E2BIG,
            f"can't mount overlay: {len(lowers)} layers need {len(data)} bytes of options; the "
            f"kernel takes {limit} bytes and {_OVERLAY_LOWER_LIMIT} layers",
            "give fewer directories by --overlay; if there are none, ch-image tag IMAGE IMAGE "
            "joins the layers of an image that another machine has put into storage",
        )
    return data


def _escape_option(name: bytes) -> bytes:
    """Escape what separates directories and options in an overlay's mount options."""
    return name.replace(b"\\", b"\\\\").replace(b":", b"\\:").replace(b",", b"\\,")
