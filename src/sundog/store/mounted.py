"""Which layers and trees live processes have mounted: proc_pid_mountinfo(5).

A running container needs its files after they have left the store.  Its mounts are found by name:
the options of its overlay, or the root of its bind mount, contain the ID of each layer or of the
flattened tree.  IDs do not occur by chance.  A container from another storage directory with the
same layer counts too, which does no harm.  Processes on other hosts that share the file system are
not seen.
"""

from __future__ import annotations

import os


def mounted_names(names: set[bytes]) -> set[bytes]:
    """Return those of ``names`` that occur in the mounts of any process of this host."""
    found: set[bytes] = set()
    seen: set[str] = set()
    for process in filter(str.isdecimal, os.listdir("/proc") if names else ()):
        try:
            namespace = os.readlink(f"/proc/{process}/ns/mnt")
        except PermissionError:
            namespace = ""  # it may still be the user's: a process that is not dumpable
        except OSError:
            continue
        if namespace in seen:
            continue
        try:
            with open(f"/proc/{process}/mountinfo", "rb") as file:
                mounts = file.read()
        except OSError:
            continue
        if namespace:
            seen.add(namespace)
        found |= {name for name in names if name in mounts}
    return found
