"""Which devices the CDI specification files of some directories have, and what they change.

Floor 0.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.cdi.edits import ContainerEdits

    Warn = Callable[[str], None]


def edits_for(
    names: "Sequence[bytes]", directories: "Sequence[bytes]", warn: "Warn"
) -> "ContainerEdits":
    """Return the merged edits of what ``names`` ask for, in the order that CDI demands.

    A name is VENDOR/CLASS=DEVICE; VENDOR/CLASS, for all devices of that kind; or the path of a
    file, absolute or with "." as its first character, for all devices in it.  Directories that are
    absent count as empty; the last one wins.  The edits need no further work: an environment
    variable, a node's path and a mount's destination each occur once, and the mounts are sorted so
    that none covers another one.

    ``warn`` gets a line about each file that can't be used, if its vendor was asked for.  Raises
    CdiError if a device is missing, in conflict, or in a file that can't be used.
    """
    raise NotImplementedError


def edits_for_all(directories: "Sequence[bytes]", warn: "Warn") -> "ContainerEdits":
    """Return the merged edits of all devices of all files; none of them may be there.

    ``warn`` gets a line about each file and each device that can't be used.
    """
    raise NotImplementedError


def device_names(directories: "Sequence[bytes]", warn: "Warn") -> list[str]:
    """Return the names VENDOR/CLASS=DEVICE that can be asked for, sorted.

    ``warn`` gets a line about each file and each device that can't be used.
    """
    raise NotImplementedError
