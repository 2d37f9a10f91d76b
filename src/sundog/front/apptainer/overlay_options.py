"""The options of ``sundog apptainer overlay create``.

Specification: the help of Apptainer 1.4.
"""

from __future__ import annotations

from sundog.front.apptainer.shared_options import HELP
from sundog.front.options import HELD, REFUSED, TAKEN, WARNED, Option

_SIZE = "a directory has no size of its own"

CREATE = (
    HELP,
    Option("--create-dir", "DIR", TAKEN, "make the directory DIR in the overlay"),
    Option("--sparse -S", "", HELD, _SIZE),
    Option("--size -s", "MIB", WARNED, _SIZE),
    Option("--fakeroot -f", "", HELD, "owners are kept beside the changes in any case"),
    Option("--encrypt", "", REFUSED, "directories are not encrypted", "leave it out"),
)
