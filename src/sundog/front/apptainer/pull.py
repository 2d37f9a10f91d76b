"""The options of ``sundog apptainer pull``, and the name of the file that it makes.

Specification: the help of Apptainer 1.4, and its user guide.
"""

from __future__ import annotations

from sundog.errors import SundogError
from sundog.front.options import HELD, REFUSED, TAKEN, WARNED, Option

_PULL = "registries and logins are those of ch-image"
_LIBRARY = "Sundog knows no library"
_SIGNED = "signatures are not checked"

PULL = (
    Option("--help -h", "", TAKEN, "print this help and exit"),
    Option("--arch", "ARCH", TAKEN, "the architecture, as arm64"),
    Option("--arch-variant", "VARIANT", TAKEN, "the variant of the architecture, as v7"),
    Option("--dir", "DIR", TAKEN, "the directory in which TARGET is made"),
    Option("--docker-password", "TEXT", TAKEN, "a login, with --docker-username"),
    Option("--docker-username", "NAME", TAKEN, "the user that --docker-password belongs to"),
    Option("--disable-cache", "", TAKEN, "keep nothing in storage"),
    Option("--force -F", "", TAKEN, "replace TARGET"),
    Option("--name", "NAME", TAKEN, "the name of TARGET"),
    Option("--tmpdir", "DIR", TAKEN, "the directory for temporary files"),
    Option("--sandbox", "", TAKEN, "make a directory"),
    # These hold in any case.
    Option("--allow-unsigned -U", "", HELD, _SIGNED),
    Option("--allow-unauthenticated", "", HELD, _SIGNED),
    # These have no effect, and do no harm.
    Option("--docker-host", "ADDRESS", WARNED, "no daemon is asked"),
    Option("--library", "ADDRESS", WARNED, _LIBRARY),
    Option("--no-cleanup", "", WARNED, "what a pull has fetched stays in storage"),
    # The result would miss these.
    Option("--authfile", "FILE", REFUSED, _PULL, "ch-image login"),
    Option("--docker-login", "", REFUSED, _PULL, "ch-image login"),
    Option("--no-https --nohttps", "", REFUSED, _PULL,
           "set insecure = true in registries.conf; a registry on this machine needs nothing"),
)  # fmt: skip


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
