"""The entry point of ``ch-convert``."""

from __future__ import annotations

import gc

from sundog.front.cli.ending import run_and_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

# As for ch-image.
_ALLOCATIONS = 50_000


def main() -> NoReturn:
    """Run ``ch-convert`` with this process's arguments, and end it."""
    gc.set_threshold(_ALLOCATIONS)
    run_and_end(_run)


def _run(argv: Sequence[str]) -> int:
    from sundog.front.cli.convert_command import run  # under the care of run_and_end

    return run(argv)


if __name__ == "__main__":
    main()
