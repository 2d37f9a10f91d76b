"""The plan of mounts of a build's step, with a /proc and a /dev of its own.

/tmp and the accounts are the image's.  Of the host, the step sees a few devices, the kernel's /sys,
the network configuration, and the files that it is given.
"""

from __future__ import annotations

import os

from sundog.base.kernel.mounts import (
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    OPEN_TREE_CLONE,
    mount,
    open_tree,
)
from sundog.errors import KernelError, PidNamespaceRefused
from sundog.runtime.container.fast_path import LibraryMount
from sundog.runtime.container.hidden import Hidden
from sundog.runtime.container.operations import CREATED, OPTIONAL, Bind, DetachedMount
from sundog.runtime.container.own_devices import DEVICES, OwnDevices
from sundog.runtime.container.plan import Plan
from sundog.runtime.steps.mounts import Traceless, arranged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.operations import Operation
    from sundog.runtime.steps.command import Step

# A RUN sees these files of the host's network configuration, whatever the image has in their place.
_NETWORK_FILES = (b"/etc/hosts", b"/etc/resolv.conf")

# A RUN sees this device of the host, too.
_FUSE = b"fuse"


class FreshProc(DetachedMount):
    """Show the processes of this process's PID namespace at /proc."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(b"/proc")

    def what(self) -> str:
        """See ``DetachedMount``."""
        return "mount proc"

    def generate(self, scratch: int) -> None:
        """Mount it out of sight, while the host's /proc is still visible.

        Otherwise the kernel refuses: mount_too_revealing() in fs/namespace.c.
        """
        os.mkdir(b"proc", dir_fd=scratch)
        target = b"/proc/self/fd/%d/proc" % scratch
        try:
            mount(b"proc", target, b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)
        except KernelError as error:
            raise PidNamespaceRefused(error.message) from None
        self.tree = open_tree(scratch, b"proc", OPEN_TREE_CLONE)


def step_plan(step: Step, *, own_pids: bool) -> Plan:
    """Return the plan of mounts of a step."""
    options = step.options
    devices = OwnDevices((*DEVICES, _FUSE))
    operations: list[Operation] = [devices, Bind(b"/sys", b"/sys", writable=False)]
    operations.append(FreshProc() if own_pids else Bind(b"/proc", b"/proc"))
    if step.library:
        operations.append(LibraryMount(step.library, b"/dev", is_tmpfs=True))
    operations += [
        Traceless(Bind(path, path, OPTIONAL, writable=False, covers_link=True))
        for path in _NETWORK_FILES
    ]
    operations += [
        Traceless(
            Bind(source, destination, CREATED, writable=is_writable, is_own=source in options.own)
        )
        for source, destination, is_writable in options.binds
    ]
    operations += arranged(step.mounts, [devices])
    hidden = Hidden(options.own_places if options.binds or step.mounts else ())
    return Plan(step.root, operations, writable=True, hidden=hidden)


def ignore(_text: str) -> None:
    """Ignore a message about a mount that was left out."""
