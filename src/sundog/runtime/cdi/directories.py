"""Directories of CDI specification files.

Specification: Container Device Interface, which has two directories; XDG Base Directory
Specification, for the user's own, which wins over both.
"""

from __future__ import annotations

from sundog.errors import CdiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SYSTEM_DIRECTORIES = (b"/etc/cdi", b"/var/run/cdi")
_CDI_DIRECTORIES_VARIABLE = b"CH_RUN_CDI_DIRS"


def cdi_directories(
    option: bytes | None,
    variable: Callable[[bytes], bytes | None],
    configured: tuple[bytes, ...] = (),
) -> tuple[bytes, ...]:
    """Return the directories with CDI specification files; the last one wins.

    ``option`` is the value of --cdi-dirs, or None; ``variable`` looks an environment variable up;
    ``configured`` are those of the configuration.  The option, or else $CH_RUN_CDI_DIRS unless it
    is empty, has directories between colons.  Each of the three replaces all that come after it.
    Raises CdiError if the option has no directory.
    """
    named = variable(_CDI_DIRECTORIES_VARIABLE) if option is None else option
    directories = tuple(filter(None, (named or b"").split(b":")))
    if option is not None and not directories:
        raise CdiError("--cdi-dirs: no directory", "write --cdi-dirs=DIR or --cdi-dirs=DIR:DIR")
    return directories or configured or SYSTEM_DIRECTORIES + _user_directory(variable)


def _user_directory(variable: Callable[[bytes], bytes | None]) -> tuple[bytes, ...]:
    """Return the user's own directory, if variables lead to one."""
    for name, below in ((b"XDG_CONFIG_HOME", b"/cdi"), (b"HOME", b"/.config/cdi")):
        value = variable(name) or b""
        if value.startswith(b"/"):  # the specification says to ignore relative paths
            return (value.rstrip(b"/") + below,)
    return ()
