"""The entry point of ``ch-image``.  It imports as little as it can before it has to."""

from __future__ import annotations

import gc
import os
import sys

from sundog import __version__

# How many new objects make Python look for garbage.  Imports leave none, and at Python's default a
# short command spends a twentieth of its time on looking.
_ALLOCATIONS = 50_000


def main() -> int:
    """Run ``ch-image`` with this process's arguments, and end it; return 0 for ``--version``."""
    argv = sys.argv[1:]
    if argv == ["--version"]:  # scripts ask this often
        sys.stdout.write(f"{__version__}\n")
        return 0
    gc.set_threshold(_ALLOCATIONS)
    from sundog.cli.image_command import run  # noqa: PLC0415 - see above

    status = run(argv)
    if status < 0:
        from sundog.cli.interruption import die_of  # noqa: PLC0415

        die_of(-status)
    # All files are closed.  An orderly end of the interpreter takes a tenth of a short command.
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
