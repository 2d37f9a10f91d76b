"""Sundog's own directories that ``ch-run`` hides, and when that is necessary.

The rules of the compiled ``ch-run`` are the same: ``plan`` in native/container.c.
"""

from __future__ import annotations

import os

from sundog.base.configuration.storage import named_storages, own_places
from sundog.base.record.settings import user_records
from sundog.runtime.container.hidden import Hidden, lies_in, real_path_of
from sundog.runtime.container.operations import Bind, FileMount, TmpfsMount
from sundog.runtime.container.paths import absolute
from sundog.runtime.launcher.host_places import TMP
from sundog.runtime.launcher.run_plan import CRAY_BINDS, OPTIONAL_BINDS, REQUIRED_BINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.configuration.holding import Holding
    from sundog.runtime.container.operations import Operation
    from sundog.runtime.container.variables import Environment
    from sundog.runtime.launcher.options import CommandLine
    from sundog.runtime.launcher.storage import Storage

# Directories of the host that containers see without any option.
_SEEN = (TMP, b"/dev")
# The sources of the binds of all containers.
_USUAL_SOURCES = (TMP, *REQUIRED_BINDS, *OPTIONAL_BINDS, *CRAY_BINDS)


def hidden_from(
    line: CommandLine,
    storage: Storage,
    environment: Environment,
    operations: Sequence[Operation],
    holding: Holding,
) -> Hidden:
    """Return what the binds of a container do not show.

    ``operations`` are its mounts but for those of --bind; ``holding`` is the configuration.
    """
    records = user_records(environment)  # who could rename them could write the configuration
    named = [*named_storages(environment, holding), records]
    is_asked = bool(line.mounts.binds) or line.image.write or bool(line.image.overlays)
    if not (is_asked or _may_be_seen(storage, named, operations)):
        return Hidden()
    places = own_places(storage.path, environment, holding)
    real = [path for path in map(real_path_of, places) if path]
    root = line.image.write and not lies_in(absolute(line.operands[0]), real)
    return Hidden(places, root=root, loose=records)


def _may_be_seen(storage: Storage, named: Sequence[bytes], operations: Sequence[Operation]) -> bool:
    """Tell whether the mounts of a container could show a directory of Sundog's own.

    In the common case, this takes one system call.  ``state.place`` chooses no place for run-time
    state that such a container sees.
    """
    # A mount that is neither a bind nor made by Sundog is that of a driver.
    shown = [each for each in operations if type(each) not in (FileMount, TmpfsMount)]
    sources = [each.source if isinstance(each, Bind) else b"" for each in shown]
    if storage.has_link or any(source not in _USUAL_SOURCES for source in sources):
        return True
    paths = (storage.path, *named)
    if any(path.startswith(place + b"/") for path in paths for place in _SEEN):
        return True
    return TMP in sources and _is_link(TMP)


def _is_link(path: bytes) -> bool:
    """Tell whether ``path`` is a symbolic link."""
    try:
        os.readlink(path)
    except OSError:
        return False
    return True
