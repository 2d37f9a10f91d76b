"""Sundog's own directories that ``ch-run`` hides, and when that is necessary.

The rules of the compiled ``ch-run`` are the same: ``plan`` in native/container.c.
"""

import os

from sundog.base.record.location import STORAGE_VARIABLE, own_places
from sundog.runtime.container.hidden import Hidden, lies_in, real_path_of
from sundog.runtime.container.paths import absolute
from sundog.runtime.launcher.host_places import TMP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.variables import Environment
    from sundog.runtime.launcher.options import CommandLine
    from sundog.runtime.launcher.storage import Storage

# Directories of the host that containers see without any option.
SEEN = (TMP, b"/dev")


def hidden_from(
    line: "CommandLine",
    storage: "Storage",
    environment: "Environment",
    host_tmp: bytes | None,
    *,
    more: bool,
) -> Hidden:
    """Return what the binds of a container do not show.

    ``host_tmp`` is the host's directory that it sees at /tmp, or None; ``more`` says that it sees
    others, of which this function does not know.
    """
    more = more or bool(line.binds) or line.write
    if not (more or may_be_seen(storage, environment, host_tmp)):
        return Hidden()
    places = own_places(storage.path, environment)
    real = [path for path in map(real_path_of, places) if path]
    return Hidden(places, root=line.write and not lies_in(absolute(line.operands[0]), real))


def may_be_seen(storage: "Storage", environment: "Environment", host_tmp: bytes | None) -> bool:
    """Tell whether a container without --bind could see a storage directory.

    In the common case, this takes one system call.  ``state.place`` chooses no place for run-time
    state that such a container sees.
    """
    if storage.has_link or host_tmp not in (None, TMP):
        return True
    paths = (storage.path, environment.get(STORAGE_VARIABLE) or b"")
    if any(path.startswith(place + b"/") for path in paths for place in SEEN):
        return True
    return host_tmp is not None and is_link(TMP)


def is_link(path: bytes) -> bool:
    """Tell whether ``path`` is a symbolic link."""
    try:
        os.readlink(path)
    except OSError:
        return False
    return True
