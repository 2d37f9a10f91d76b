"""``ch-image``: build and manage images.  The entry point, which does no more than it has to."""

from __future__ import annotations

import sys

from sundog import __version__


def main() -> int:
    """Run ``ch-image`` with this process's arguments; return its exit status."""
    argv = sys.argv[1:]
    if argv == ["--version"]:  # asked by scripts, often
        print(__version__)
        return 0
    from sundog.cli.image_command import run  # noqa: PLC0415 - see above

    return run(argv)


if __name__ == "__main__":
    sys.exit(main())
