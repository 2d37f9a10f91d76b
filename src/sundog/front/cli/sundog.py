"""The entry point of ``sundog``: one command with podman's words.

``sundog run`` comes first: it loads nothing that it does not need, and becomes ``ch-run``.
"""

from __future__ import annotations

import os
import sys

from sundog.front.cli.sundog_command import run


def main() -> int:
    """Run ``sundog`` with this process's arguments, and end it."""
    status = run(sys.argv[1:])
    if status < 0:
        from sundog.runtime.process.interruption import die_of

        die_of(-status)
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105 - contextlib takes as long as a third of a start
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # it is closed, or nobody reads it
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
