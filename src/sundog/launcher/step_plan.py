"""What a step of a build finds mounted: the plan, and a /proc of its own.

/tmp and the accounts are the image's; of the host it sees devices, the kernel's files and the
network configuration, and what it is told to.

Not part of ``ch-run``, but made of the same parts.
"""

import os

from sundog.errors import KernelError, SundogError
from sundog.kernel.mounts import (
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    OPEN_TREE_CLONE,
    mount,
    open_tree,
)
from sundog.launcher.operations import REQUIRED, Bind, Detached
from sundog.launcher.plan import Plan
from sundog.launcher.step_mounts import Cover, StepBind, arranged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.launcher.operations import Operation
    from sundog.launcher.step import Step

# Of the host's network configuration a RUN sees these, whatever the image has in their place.
NETWORK_FILES = (b"/etc/hosts", b"/etc/resolv.conf")


class PidNamespaceRefused(SundogError):
    """The site refuses a PID namespace, or to mount /proc in one."""


class FreshProc(Detached):
    """Show the processes of this process's PID namespace at /proc."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(b"/proc", REQUIRED)

    def describe(self) -> str:
        """Say in one line what it does."""
        return "mount proc at /proc (required)"

    def generate(self, scratch: int) -> None:
        """Mount it out of sight, while the host's /proc can still be seen.

        Without that the kernel refuses: mount_too_revealing() in fs/namespace.c.
        """
        os.mkdir(b"proc", dir_fd=scratch)
        target = b"/proc/self/fd/%d/proc" % scratch
        try:
            mount(b"proc", target, b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)
        except KernelError as error:
            raise PidNamespaceRefused(error.message) from None
        self.tree = open_tree(scratch, b"proc", OPEN_TREE_CLONE)


def step_plan(step: "Step", *, own_pids: bool) -> Plan:
    """Return the plan of mounts of a step."""
    operations: list[Operation] = [Bind(b"/dev", b"/dev"), Bind(b"/sys", b"/sys")]
    operations.append(FreshProc() if own_pids else Bind(b"/proc", b"/proc"))
    operations += [Cover(path) for path in NETWORK_FILES]
    operations += [StepBind(source, destination) for source, destination in step.binds]
    operations += arranged(list(step.mounts))
    return Plan(step.root, operations, writable=True)


def ignore(_text: str) -> None:
    """Drop a message about a mount that was left out."""
