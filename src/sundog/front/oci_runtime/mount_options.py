"""The options of an entry of ``mounts``: attributes of the mount, and data for the file system.

Specification: runtime-spec, config.md "Linux mount options"; mount_setattr(2).
"""

from __future__ import annotations

from sundog.base.kernel.libc import escaped, printable
from sundog.base.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_RECURSIVE,
    mount_setattr,
)
from sundog.errors import RuntimeConfigError
from sundog.runtime.container.mount_attributes import ATTRIBUTES, BINDS, IGNORED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.oci_runtime.log import Log
    from sundog.front.oci_runtime.specification import MountEntry

IMPOSSIBLE = ("idmap", "ridmap")
_TOO_LONG = 4000  # bytes of data: mount(2) copies a page


class Options:
    """The options of an entry: attributes, those for all mounts below, and the rest as data."""

    __slots__ = ("attributes", "binds", "data", "recursive")

    def __init__(self, entry: MountEntry, ids: tuple[int, int], log: Log) -> None:
        """Sort the options.  ``ids`` are the container's uid and gid: no others exist there.

        Raises RuntimeConfigError.
        """
        self.attributes = self.recursive = 0
        self.binds = entry.kind == "bind"
        data = []
        for option in entry.options:
            if option in ATTRIBUTES:
                self.attributes |= ATTRIBUTES[option]
            elif option in BINDS:
                self.binds = True
            elif option[:1] == "r" and option[1:] in ATTRIBUTES:
                self.recursive |= ATTRIBUTES[option[1:]]
            elif option in IMPOSSIBLE:
                raise RuntimeConfigError(
                    f"cannot mount {printable(entry.destination)}: {option}:"
                    " this runtime cannot map the IDs of a mount"
                )
            elif option not in IGNORED and option and not is_foreign_id(option, entry, ids, log):
                data.append(option)
        self.data = ",".join(data).encode("utf-8", "surrogateescape")
        if len(self.data) > _TOO_LONG:
            raise RuntimeConfigError(
                f"cannot mount {printable(entry.destination)}: the options are too long"
            )

    def apply(self, tree: int, *, to_all: bool = False) -> None:
        """Give the detached mount its attributes, or those below too.  Raises KernelError."""
        if self.attributes:
            flags = AT_EMPTY_PATH | (AT_RECURSIVE if to_all else 0)
            mount_setattr(tree, b"", flags, self.attributes)
        if self.recursive:
            mount_setattr(tree, b"", AT_EMPTY_PATH | AT_RECURSIVE, self.recursive)


def is_foreign_id(option: str, entry: MountEntry, ids: tuple[int, int], log: Log) -> bool:
    """Tell whether an option gives a file system to an ID that the container does not have."""
    name, _, value = option.partition("=")
    if name not in ("uid", "gid") or value == str(ids[name == "gid"]):
        return False
    if entry.kind != "devpts":  # almost every configuration has the group tty there
        log.warn_once(
            "mount IDs",
            f"mounts: {escaped(option[:40])} left out: a Type III container has one user and one"
            " group",
        )
    return True
