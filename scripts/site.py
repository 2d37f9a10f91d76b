"""`make docs`: the documentation as a site in site/, by MkDocs in a virtual environment of its own.

The pictures are drawn first.
Every link is checked, to anchors too; one that leads nowhere is an error.
"""

from __future__ import annotations

import subprocess
import sys

from scripts import install, packages
from scripts.place import CHECKOUT, WorkshopError


def main() -> int:
    """Make the site; return the exit status."""
    try:
        packages.require(sorted(install.NEEDS))
        python = next(iter(install.pythons().values()))
        programs = install.environment("docs", python, groups=["docs"])
    except WorkshopError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    subprocess.run([programs / "python", "-m", "scripts.pictures"], cwd=CHECKOUT, check=True)
    built = subprocess.run(
        [programs / "mkdocs", "build", "--strict", "--quiet"], cwd=CHECKOUT, check=False
    )
    if not built.returncode:
        print(f"made {CHECKOUT / 'site' / 'index.html'}")
    return built.returncode


if __name__ == "__main__":
    sys.exit(main())
