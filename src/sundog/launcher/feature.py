"""``ch-run --feature``: try whether a feature works on this machine.

The process exits after a probe, so a probe may enter namespaces or install a filter.

Floor 0.
"""

import os

from sundog.container.enter import enter_namespaces, mount_scratch
from sundog.container.root import OverlayRoot
from sundog.emulation.filter import install_fake_root
from sundog.errors import EXIT_ERROR, EXIT_RUN, SundogError
from sundog.kernel.libc import printable
from sundog.kernel.mounts import fsopen
from sundog.kernel.process import set_no_new_privs
from sundog.launcher.environment import has_extglob


def feature_status(name: bytes) -> int:
    """Return the exit status of --feature ``name``: 0 if it works here.

    Raises SundogError for an unknown name.
    """
    if name not in FEATURES:
        known = b", ".join(FEATURES).decode()
        raise SundogError(f"unknown feature: {printable(name)}", f"the features are: {known}")
    probe, absent = FEATURES[name]
    try:
        return 0 if probe() else absent
    except (SundogError, OSError):
        return absent


def has_overlay() -> bool:
    """Tell whether an ordinary user may mount an overlay.  -W needs that."""
    enter_namespaces(os.getuid(), os.getgid())
    scratch = mount_scratch()
    for name in (b"lower", b"upper", b"work"):
        os.mkdir(name, dir_fd=scratch)
    base = b"/proc/self/fd/%d" % scratch
    OverlayRoot(base, [b"lower"], b"upper", b"work", volatile=True).mount(-1)
    return True


def has_seccomp() -> bool:
    """Tell whether root emulation works on this architecture and kernel."""
    set_no_new_privs()
    install_fake_root()
    return True


def has_squash() -> bool:
    """Tell whether this user may mount FUSE.  An image that is one file needs that."""
    enter_namespaces(os.getuid(), os.getgid())
    os.close(os.open(b"/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    os.close(fsopen(b"fuse"))
    return True


def has_tmpfs_xattrs() -> bool:
    """Tell whether a tmpfs has user.* attributes (Linux 6.6).

    Without them, programs can't replace directories under -W.
    """
    enter_namespaces(os.getuid(), os.getgid())
    os.setxattr(b"/proc/self/fd/%d" % mount_scratch(), b"user.sundog", b"1")
    return True


# name → the probe, and the exit status if the feature is absent
FEATURES = {
    b"extglob": (has_extglob, EXIT_RUN),
    b"overlayfs": (has_overlay, EXIT_ERROR),
    b"seccomp": (has_seccomp, EXIT_RUN),
    b"squash": (has_squash, EXIT_RUN),
    b"tmpfs-xattrs": (has_tmpfs_xattrs, EXIT_ERROR),
}
