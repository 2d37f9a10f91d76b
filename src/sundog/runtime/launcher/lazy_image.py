"""``--lazy``: an image that is nowhere comes from its registry, and starts before it is here.

``request`` imports this module only for such a start.  In the wheel it is in a joined module of its
own.
"""

from __future__ import annotations

from sundog.base.kernel.libc import printable
from sundog.errors import SundogError
from sundog.runtime.fuse.fetcher_process import start_orphan_fetcher
from sundog.runtime.launcher.asked import ask_for_image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.variables import Environment
    from sundog.runtime.launcher.options import CommandLine

_PULLER_MODULE = b"sundog.front.cli.lazy_puller"


def pull_image(line: CommandLine, storage: bytes, environment: Environment) -> int:
    """Pull the image of ``line`` into ``storage``; return the channel to a process that fetches.

    -1: it was too early to start that.  Raises SundogError and OSError.
    """
    word, shown = line.operands[0], printable(line.operands[0])
    if line.dry:
        raise SundogError(f"--dry-run: the image is not here: {shown}", f"ch-image pull {shown}")
    words = [storage, word, line.image.arch or b"host", b"%d" % line.messages.verbosity]
    fetchers: list[int] = []
    ask_for_image(
        *(_PULLER_MODULE, words, environment, shown),
        meanwhile=lambda: fetchers.append(start_orphan_fetcher()),
    )
    return fetchers.pop() if fetchers else -1
