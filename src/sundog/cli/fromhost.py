"""The entry point of ``ch-fromhost``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run ``ch-fromhost`` with this process's arguments, and end it."""
    from sundog.cli.fromhost_command import run  # noqa: PLC0415 - after the signals are set
    from sundog.cli.small_command import end  # noqa: PLC0415

    end(run(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
