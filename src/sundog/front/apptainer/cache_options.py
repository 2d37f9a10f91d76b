"""The options of ``sundog apptainer cache``: of its subcommands.

Specification: the help of Apptainer 1.4.
"""

from __future__ import annotations

from sundog.front.apptainer.shared_options import HELP
from sundog.front.options import REFUSED, TAKEN, Option

_TYPE = Option("--type -T", "TYPES", TAKEN, "blob, oci or all: the build cache; others are empty")

LIST = (
    HELP,
    _TYPE,
    Option("--summary -s", "", TAKEN, "print no names"),
    Option("--verbose -v", "", TAKEN, "print the names and sizes of the images"),
    Option("--all -a", "", TAKEN, "as --verbose"),
)
CLEAN = (
    HELP,
    _TYPE,
    Option("--dry-run -n", "", TAKEN, "print what would be deleted"),
    Option("--force -f", "", TAKEN, "do not ask"),
    Option("--days -D", "DAYS", REFUSED, "results of builds have no date", "leave it out"),
)
TABLES = {"cache list": LIST, "cache clean": CLEAN}
# Types of Apptainer's cache; of these, Sundog's storage has the first ones.
OWN_TYPES = ("all", "blob", "oci", "oci-tmp")
EMPTY_TYPES = ("library", "shub", "net", "oras")
