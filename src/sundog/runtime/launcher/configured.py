"""The effects of the configuration on a start: binds, /tmp, the size of -W, a line below errors.

The compiled start obeys the same keys: native/settings.c.
"""

from __future__ import annotations

from sundog.base.configuration.holding import read_configuration
from sundog.base.configuration.keys import (
    BOUND,
    IN_MEMORY,
    OVERLAY_SIZE,
    SITE_HINT,
    TEMPORARY_PLACE,
)
from sundog.base.configuration.templates import place_for
from sundog.base.kernel.libc import decode_text
from sundog.runtime.container.memory_share import overlay_share
from sundog.runtime.container.mountpoint import components
from sundog.runtime.container.operations import DESIRED, OPTIONAL, Bind
from sundog.runtime.container.tmpfs_option import configured_mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.configuration.holding import Holding
    from sundog.runtime.container.operations import TmpfsMount
    from sundog.runtime.container.variables import Environment
    from sundog.runtime.launcher.messages import Messages
    from sundog.runtime.launcher.options import CommandLine


def configuration_of(line: CommandLine, environment: Environment, messages: Messages) -> Holding:
    """Return the configuration, and let it act on ``line`` and ``messages``.

    Raises SundogError for a mistake in it.
    """
    holding = read_configuration(environment)
    for text in holding.warnings:
        messages.warning(text)
    for value in holding.values(SITE_HINT):
        messages.end_errors_with(decode_text(value))

    def size() -> bytes:
        said = holding.values(OVERLAY_SIZE)
        return said[0] if said else overlay_share(environment.get)

    line.image.use_default_size(size)
    return holding


def configured_binds(line: CommandLine, holding: Holding, environment: Environment) -> list[Bind]:
    """Return the binds that all containers get, unless the command line refuses them.

    Such a bind is left out where the host or the image lacks the place, or a variable is unset.  In
    a writable image no mount point is made, because it would stay.
    """
    need = OPTIONAL if line.image.write else DESIRED
    binds = []
    for value in holding.values(BOUND) if line.mounts.site_binds else ():
        source, _, rest = value.partition(b":")
        target, _, mode = rest.partition(b":")
        source = place_for(source, environment)
        target = place_for(target, environment) if target else source
        if source and components(target):
            binds.append(Bind(source, target, need, writable=mode != b"ro"))
    return binds


def configured_tmpfs(line: CommandLine, holding: Holding) -> list[TmpfsMount]:
    """Return the directories in memory that all containers get, as ``configured_binds``.

    Raises SundogError for a mistake in them.
    """
    need = OPTIONAL if line.image.write else DESIRED
    said = holding.values(IN_MEMORY) if line.mounts.site_binds else ()
    return [configured_mount(value, holding.place(IN_MEMORY), need) for value in said]


def configured_temporary(holding: Holding, environment: Environment) -> bytes:
    """Return the host's directory that the configuration shows as /tmp; b"" without one."""
    said = holding.said(TEMPORARY_PLACE)
    return place_for(said[0], environment) if said else b""
