"""The mount options of an overlay that an ordinary user may mount.

Specification: the kernel's ``Documentation/filesystems/overlayfs.rst``.  The string goes to
mount(2), which takes one page; so chdir first and give short, relative names.
"""

import errno
import os

from sundog.errors import KernelError

# overlayfs gives up beyond this many lower directories: OVL_MAX_STACK.
OVERLAY_MAX_LOWERS = 500


def overlay_data(
    lowers: list[bytes],
    upper: bytes | None,
    work: bytes | None,
    *,
    volatile: bool = False,
    xino: bool = False,
) -> bytes:
    """Return the data of mount(2) for an overlay of ``lowers`` (topmost first) below ``upper``.

    Without ``upper`` and ``work`` it is read-only and needs two lowers.  ``volatile`` leaves all
    syncs out, ``xino`` keeps inode numbers unique and persistent.  Names may hold any character.
    Raises KernelError (E2BIG) when the options do not fit.
    """
    # index=off: how hard links copy up must not depend on how the kernel was configured.
    options = [b"userxattr,index=off", b"lowerdir=" + b":".join(map(escape_option, lowers))]
    if upper is not None and work is not None:
        options += [b"upperdir=" + escape_option(upper), b"workdir=" + escape_option(work)]
        if volatile:
            options.append(b"volatile")
    if xino:
        options.append(b"xino=on")
    data = b",".join(options)
    limit = os.sysconf("SC_PAGE_SIZE") - 1
    if len(data) > limit or len(lowers) > OVERLAY_MAX_LOWERS:
        raise KernelError(
            "mount",
            "overlay",
            errno.E2BIG,
            f"can't mount overlay: {len(lowers)} layers need {len(data)} bytes of options; the "
            f"kernel takes {limit} bytes and {OVERLAY_MAX_LOWERS} layers",
            "flatten the image: fewer instructions, or a stage that copies the result",
        )
    return data


def escape_option(name: bytes) -> bytes:
    """Escape what separates directories and options in an overlay's mount options."""
    return name.replace(b"\\", b"\\\\").replace(b":", b"\\:").replace(b",", b"\\,")
