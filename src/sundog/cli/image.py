"""``ch-image``: build and manage images.  The entry point, which does no more than it has to."""

from __future__ import annotations

import gc
import os
import sys

from sundog import __version__

# New objects between two looks for garbage.  There is none in modules that are being imported: to
# look as often as Python does of its own takes a twentieth of a short command.
_ALLOCATIONS = 50_000


def main() -> int:
    """Run ``ch-image`` with this process's arguments, and end it; return 0 for ``--version``."""
    argv = sys.argv[1:]
    if argv == ["--version"]:  # asked by scripts, often
        sys.stdout.write(f"{__version__}\n")
        return 0
    gc.set_threshold(_ALLOCATIONS)
    from sundog.cli.image_command import run  # noqa: PLC0415 - see above

    status = run(argv)
    if status < 0:
        from sundog.cli.interruption import die_of  # noqa: PLC0415

        die_of(-status)
    # All is written and closed. To take the interpreter apart would be a tenth of a short command.
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
