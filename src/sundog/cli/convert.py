"""The entry point of ``ch-convert``."""

from __future__ import annotations

import gc
import os
import sys

# As for ch-image.
_ALLOCATIONS = 50_000


def main() -> int:
    """Run ``ch-convert`` with this process's arguments, and end it."""
    gc.set_threshold(_ALLOCATIONS)
    from sundog.cli.convert_command import run  # noqa: PLC0415 - after that

    status = run(sys.argv[1:])
    if status < 0:
        from sundog.cli.interruption import die_of  # noqa: PLC0415

        die_of(-status)
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
