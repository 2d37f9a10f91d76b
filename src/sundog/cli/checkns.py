"""The entry point of ``ch-checkns``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run ``ch-checkns`` with this process's arguments, and end it."""
    from sundog.cli.checkns_command import run  # noqa: PLC0415 - after the signals are set
    from sundog.cli.small_command import end  # noqa: PLC0415

    end(run(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
