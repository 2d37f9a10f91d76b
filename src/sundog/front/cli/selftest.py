"""The entry point of ``ch-test``."""

from __future__ import annotations

from sundog.front.cli.ending import run_and_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn


def main() -> NoReturn:
    """Run ``ch-test`` with this process's arguments, and end it."""
    run_and_end(_run)


def _run(argv: Sequence[str]) -> int:
    from sundog.front.cli.selftest_command import run  # under the care of run_and_end

    return run(argv)


if __name__ == "__main__":
    main()
