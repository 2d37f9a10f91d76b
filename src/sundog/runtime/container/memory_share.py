"""The memory that one container may fill: the default size of what it writes.

The kernel lets a tmpfs grow beyond the memory of the control group, and then kills processes of
it, perhaps the one that started the job.  So the default size follows the limits of the control
groups above.  Sources: cgroups(7), tmpfs(5), and the kernel's documentation, cgroup-v1/memory and
cgroup-v2.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.runtime.container.local_ranks import local_tasks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SHARE_OF_MEMORY = 12  # per cent
OVERLAY_SHARE = b"%d%%" % _SHARE_OF_MEMORY
_LEAST_SIZE = 1 << 20  # bytes: a container can do little with less

_CGROUPS = b"/sys/fs/cgroup"
# Directories of control groups, the files with the limit and the use, and the parts of the use that
# the kernel can take back at any time.
CGROUP_V1 = (
    (_CGROUPS + b"/memory",),
    b"memory.limit_in_bytes",
    b"memory.usage_in_bytes",
    (b"total_inactive_file", b"total_active_file"),
)
CGROUP_V2 = (
    (_CGROUPS, _CGROUPS + b"/unified"),
    b"memory.max",
    b"memory.current",
    (b"inactive_file", b"active_file"),
)
_UNLIMITED = 1 << 60  # version 1 has such a number for no limit


def overlay_share(get: Callable[[bytes], bytes | None]) -> bytes:
    """Return the default size of what a container writes, in the form of tmpfs(5).

    It is 12 % of the memory.  If a control group has a limit, it is at most half of what the
    tightest limit leaves, divided by the tasks on this node.  ``get`` reads the environment.
    """
    left = memory_left()
    if left is None:
        return OVERLAY_SHARE
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    size = min(memory * _SHARE_OF_MEMORY // 100, left // 2 // local_tasks(get))
    return b"%d" % max(size, _LEAST_SIZE)


def memory_left() -> int | None:
    """Return what the tightest limit of this process's control groups leaves; None without one."""
    found = []
    for line in read_group_file(b"/proc/self/cgroup").splitlines():
        _, _, rest = line.partition(b":")
        controllers, _, path = rest.partition(b":")
        if controllers and b"memory" not in controllers.split(b","):
            continue
        places, limit_name, use_name, kept = CGROUP_V1 if controllers else CGROUP_V2
        for place in places:
            group = path.rstrip(b"/")
            while True:
                limit = _group_number(place + group + b"/" + limit_name)
                if limit is not None and limit < _UNLIMITED:
                    used = _group_number(place + group + b"/" + use_name) or 0
                    cache = _reclaimable(place + group + b"/memory.stat", kept)
                    found.append(max(0, limit - max(0, used - cache)))
                if not group:
                    break
                group, _, _ = group.rpartition(b"/")
    return min(found, default=None)


def _reclaimable(path: bytes, names: tuple[bytes, ...]) -> int:
    """Return the sum of the ``names`` in a file memory.stat."""
    total = 0
    for line in read_group_file(path).splitlines():
        name, _, value = line.partition(b" ")
        if name in names and value.isdigit():
            total += int(value)
    return total


def _group_number(path: bytes) -> int | None:
    """Return the number that a file holds, None if it holds none."""
    text = read_group_file(path).strip()
    return int(text) if text.isdigit() else None


def read_group_file(path: bytes) -> bytes:
    """Return a file of the kernel, b"" if it can't be read."""
    try:
        with Closing(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as fd:
            return os.read(fd, 1 << 16)
    except OSError:
        return b""
