"""Where CDI specification files are.

Floor 0.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SYSTEM_DIRECTORIES = (b"/etc/cdi", b"/var/run/cdi")


def cdi_directories(
    option: bytes | None, environment: "Callable[[bytes], bytes | None]"
) -> tuple[bytes, ...]:
    """Return the directories with CDI specification files, the one that wins last.

    ``option`` is the value of --cdi-dirs, or None.  Both it and $CH_RUN_CDI_DIRS are separated by
    colons and replace all directories.
    """
    raise NotImplementedError
