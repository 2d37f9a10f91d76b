"""The options of ``sundog apptainer pull``, and the name of the file that it makes.

Specification: the help of Apptainer 1.4, and its user guide.
"""

from __future__ import annotations

from sundog.errors import SundogError
from sundog.front.apptainer.shared_options import (
    FORCE,
    HELP,
    LIBRARY,
    LOGIN,
    NO_DAEMON,
    PLATFORM,
    REGISTRIES,
    TMPDIR,
)
from sundog.front.options import HELD, TAKEN, WARNED, Option

_SIGNED = "signatures are not checked"

PULL = (
    HELP,
    *PLATFORM,
    Option("--dir", "DIR", TAKEN, "the directory in which TARGET is made"),
    *LOGIN,
    Option("--disable-cache", "", TAKEN, "keep nothing in storage"),
    FORCE,
    Option("--name", "NAME", TAKEN, "the name of TARGET"),
    TMPDIR,
    Option("--sandbox", "", TAKEN, "make a directory"),
    # These hold in any case.
    Option("--allow-unsigned -U", "", HELD, _SIGNED),
    Option("--allow-unauthenticated", "", HELD, _SIGNED),
    # These have no effect, and do no harm.
    NO_DAEMON,
    LIBRARY,
    Option("--no-cleanup", "", WARNED, "what a pull has fetched stays in storage"),
    # The result would miss these.
    *REGISTRIES,
)


def default_name(source: str) -> str:
    """Return the name of the file that a pull of ``source`` makes.  Raises SundogError."""
    transport, colon, rest = source.partition(":")
    if not colon or "/" in transport:
        raise SundogError("No transport type URI supplied", f"docker://{source}")
    last = rest.rstrip("/").rpartition("/")[2]
    if not last:
        raise SundogError(f"Bad URI {source}", "write docker://NAME")
    if transport in ("http", "https"):
        return last.partition("?")[0]
    name, _, tag = last.partition(":")
    return f"{name}_{tag or 'latest'}.sif"
