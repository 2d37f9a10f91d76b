"""Trials of single features: each does on this machine what the feature does.

A trial enters namespaces or installs a filter, so its process is good for nothing else afterwards.
It raises KernelError or OSError if the machine refuses.
"""

from __future__ import annotations

import os

from sundog.base.kernel.process import set_no_new_privs
from sundog.runtime.container.enter import enter_namespaces, mount_scratch
from sundog.runtime.container.root import OverlayRoot
from sundog.runtime.emulation.filter import install_fake_root
from sundog.runtime.fuse.device import mount_fuse


def try_overlay() -> None:
    """Mount an overlay whose upper is in memory, as -W does."""
    enter_namespaces(os.getuid(), os.getgid())
    scratch = mount_scratch()
    for name in (b"lower", b"upper", b"work"):
        os.mkdir(name, dir_fd=scratch)
    base = b"/proc/self/fd/%d" % scratch
    OverlayRoot(base, [b"lower"], b"upper", b"work", volatile=True).mount(-1)


def try_seccomp() -> None:
    """Install the filter of root emulation."""
    set_no_new_privs()
    install_fake_root()


def try_squash() -> None:
    """Mount a file system of FUSE, as for an image that is a file.  Raises SundogError, too."""
    enter_namespaces(os.getuid(), os.getgid())
    mount_fuse(b"SquashFS", os.getuid(), os.getgid())


def try_tmpfs_xattrs() -> None:
    """Set a user.* attribute in a tmpfs (Linux 6.6).

    Without them, programs can't replace directories under -W.
    """
    enter_namespaces(os.getuid(), os.getgid())
    os.setxattr(b"/proc/self/fd/%d" % mount_scratch(), b"user.sundog", b"1")
