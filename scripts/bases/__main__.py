"""Make base images by name and print where they are."""

from __future__ import annotations

import sys

from scripts.bases.makers import MAKERS, base
from scripts.place import WorkshopError


def main(names: list[str]) -> int:
    """Make the bases named, or all; an exit status."""
    try:
        for name in names or MAKERS:
            print(base(name), flush=True)
    except WorkshopError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


sys.exit(main(sys.argv[1:]))
