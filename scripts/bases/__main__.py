"""Make base images by name and print their paths."""

from __future__ import annotations

import sys

from scripts.bases.makers import MAKERS, base
from scripts.place import WorkshopError


def main(names: list[str]) -> int:
    """Make the named bases, or all; return the exit status."""
    try:
        for name in names or MAKERS:
            print(base(name), flush=True)
    except WorkshopError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


sys.exit(main(sys.argv[1:]))
