"""The entry point of ``ch-image``.  It imports as little as it can before it has to."""

from __future__ import annotations

import gc
import sys

from sundog import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# The number of new objects after which Python looks for garbage.  Imports leave none, and at
# Python's default a short command spends a twentieth of its time on looking.
_ALLOCATIONS = 50_000


def main() -> int:
    """Run ``ch-image`` with this process's arguments, and end it; ``--version`` returns."""
    if sys.argv[1:] != ["--version"]:  # scripts ask for the version often
        gc.set_threshold(_ALLOCATIONS)
        from sundog.front.cli.ending import run_and_end

        run_and_end(_run)
    try:
        sys.stdout.write(f"{__version__}\n")
        sys.stdout.flush()
    except OSError:  # nobody reads, or the disk is full
        sys.stdout = None  # Python must not try again
        return 1
    return 0


def _run(argv: Sequence[str]) -> int:
    if argv[:1] == ["__complete"]:  # a shell asks this between two keys
        from sundog.front.cli.completion import print_names

        print_names(argv[1:])
        return 0
    from sundog.front.cli.image_command import run

    return run(argv)


if __name__ == "__main__":
    sys.exit(main())
