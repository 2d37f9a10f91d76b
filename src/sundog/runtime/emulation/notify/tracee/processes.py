"""Other processes, as a tracee sees them: their numbers in its PID namespace, their groups.

The working directory is the /proc of the supervisor's own PID namespace (``paths``).  There the
processes of the namespaces below have numbers of their own.  proc(5) shows the numbers of a process
in all namespaces that contain it, from the supervisor's to its own.
"""

from __future__ import annotations

import os
from fcntl import ioctl

from sundog.base.kernel.files import Closing
from sundog.base.kernel.namespaces import NS_GET_PARENT, NS_GET_USERNS
from sundog.runtime.emulation.notify.tracee.call import KernelAnswers
from sundog.runtime.emulation.notify.tracee.descriptors import process_status

_REMEMBERED_LIMIT = 1 << 12
_FDINFO_SIZE = 4096


class Process:
    """Facts about a process, from /proc/PID/status.

    group       the number of the process in the supervisor's namespace
    session     the number of its session there
    """

    __slots__ = ("_depths", "group", "session")

    def __init__(self, process: int) -> None:
        """Read about ``process``, or about the process of a thread.  Raises KernelAnswers."""
        try:
            text = process_status(process)
        except OSError as error:
            raise KernelAnswers from error
        fields = dict(line.split(b":", 1) for line in text.splitlines() if b":" in line)
        try:
            numbers = [[int(n) for n in fields[name].split()] for name in (b"NStgid", b"NSpgid")]
            self.session = int(fields[b"NSsid"].split()[0])
        except (KeyError, IndexError, ValueError) as error:
            raise KernelAnswers from error
        self._depths = numbers
        self.group = numbers[0][0]

    @property
    def depth(self) -> int:
        """The number of PID namespaces that contain the process, from the supervisor's on."""
        return len(self._depths[0])

    def inner(self, viewer: Process) -> int:
        """Return the number of the process as ``viewer``, which sees it, knows it."""
        return self._depths[0][viewer.depth - 1]

    def process_group(self, viewer: Process) -> int:
        """Return the number of its process group as ``viewer``, which sees it, knows it."""
        groups = self._depths[1]
        return groups[viewer.depth - 1] if viewer.depth <= len(groups) else 0

    def is_visible_to(self, viewer: Process) -> bool:
        """Tell whether ``viewer`` sees the process in its own PID namespace, or in one below.

        Raises OSError if the process has ended, or belongs to another user of the host.
        """
        if viewer.depth == 1:
            return True  # the namespace is the supervisor's
        if self.depth < viewer.depth:
            return False
        namespace = _pid_namespace(viewer.group)
        if self.depth == viewer.depth:
            return _pid_namespace(self.group) == namespace
        fd = os.open(b"%d/ns/pid" % self.group, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for _ in range(self.depth - viewer.depth):
                above = ioctl(fd, NS_GET_PARENT)
                os.close(fd)
                fd = above
            return os.fstat(fd).st_ino == namespace
        finally:
            os.close(fd)


class Processes:
    """Finds processes by the numbers that tracees know."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], int] = {}

    def visible_to(self, viewer: Process) -> list[Process]:
        """Return the processes that ``viewer`` sees."""
        found = []
        for name in os.listdir(b"."):
            if name.isdigit():
                try:
                    process = Process(int(name))
                    if process.is_visible_to(viewer):
                        found.append(process)
                except (KernelAnswers, OSError):
                    continue  # it has ended, or belongs to another user of the host
        return found

    def remembered(self, thread: int, number: int) -> int:
        """Return the process that ``thread`` knew by ``number`` the last time, or 0."""
        return self._known.get((_pid_namespace(thread), number), 0)

    def find(self, thread: int, number: int) -> int:
        """Return the process that ``thread`` knows by ``number``, or 0 if it knows none."""
        viewer = Process(thread)
        if viewer.depth == 1:
            try:
                return Process(number).group  # kill(2) also takes the number of a thread
            except KernelAnswers:
                return 0
        for each in self.visible_to(viewer):
            if each.inner(viewer) == number:
                if len(self._known) >= _REMEMBERED_LIMIT:
                    self._known.clear()
                self._known[_pid_namespace(thread), number] = each.group
                return each.group
        return 0

    def of_pidfd(self, thread: int, fd: int) -> int:
        """Return the process that descriptor ``fd`` of ``thread`` refers to, or 0."""
        try:
            with Closing(os.open(b"%d/fdinfo/%d" % (thread, fd), os.O_RDONLY)) as info:
                _, _, rest = os.read(info, _FDINFO_SIZE).partition(b"\nPid:")
            return max(int(rest.split(None, 1)[0]), 0)
        except (OSError, ValueError, IndexError):
            return 0


def owns_namespace(thread: int, kind: bytes) -> bool:
    """Tell whether the namespace ``kind`` of ``thread`` belongs to its user namespace.

    No if the owner is none of the container's: the kernel then does not say.
    """
    try:
        with (
            Closing(os.open(b"%d/ns/%b" % (thread, kind), os.O_RDONLY | os.O_CLOEXEC)) as fd,
            Closing(ioctl(fd, NS_GET_USERNS)) as owner,
        ):
            ours, theirs = os.fstat(owner), os.stat(b"%d/ns/user" % thread)
            return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)
    except OSError:
        return False


def _pid_namespace(process: int) -> int:
    """Return a number that stands for the PID namespace of ``process``.  Raises OSError."""
    return os.stat(b"%d/ns/pid" % process).st_ino
