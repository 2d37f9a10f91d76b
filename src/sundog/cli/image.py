"""``ch-image``: build and manage images.  The entry point, which does no more than it has to."""

from __future__ import annotations

import os
import sys

from sundog import __version__


def main() -> int:
    """Run ``ch-image`` with this process's arguments, and end it; return 0 for ``--version``."""
    argv = sys.argv[1:]
    if argv == ["--version"]:  # asked by scripts, often
        print(__version__)
        return 0
    from sundog.cli.image_command import run  # noqa: PLC0415 - see above

    status = run(argv)
    # All is written and closed. To take the interpreter apart would be a tenth of a short command.
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
