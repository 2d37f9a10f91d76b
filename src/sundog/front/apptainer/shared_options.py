"""Options of Apptainer that mean the same in several subcommands.

Specification: the help of Apptainer 1.4.
"""

from __future__ import annotations

from sundog.front.options import HELD, REFUSED, TAKEN, WARNED, Option

_WAY = "there is one way to emulate root here"
_PULL = "registries and logins are those of ch-image"

HELP = Option("--help -h", "", TAKEN, "print this help and exit")
BIND = Option(
    "--bind -B", "SRC[:DST[:ro]]", TAKEN, "show the host's SRC at DST; a list with commas"
)
MOUNT = Option("--mount", "type=bind,src=SRC,dst=DST[,ro]", TAKEN, "as --bind, spelled out")
LOGIN = (
    Option("--docker-password", "TEXT", TAKEN, "a login for docker://, with --docker-username"),
    Option("--docker-username", "NAME", TAKEN, "the user that --docker-password belongs to"),
)
FORCE = Option("--force -F", "", TAKEN, "replace TARGET")
TMPDIR = Option("--tmpdir", "DIR", TAKEN, "the directory for temporary files")
WAYS_TO_BE_ROOT = (
    Option("--ignore-fakeroot-command", "", HELD, _WAY),
    Option("--ignore-subuid", "", HELD, _WAY),
    Option("--ignore-userns", "", HELD, _WAY),
)
PLATFORM = (
    Option("--arch", "ARCH", TAKEN, "the architecture of images of registries, as arm64"),
    Option("--arch-variant", "VARIANT", TAKEN, "the variant of the architecture, as v7"),
)
NO_DAEMON = Option("--docker-host", "ADDRESS", WARNED, "no daemon is asked")
LIBRARY = Option("--library", "ADDRESS", WARNED, "Sundog knows no library")
REGISTRIES = (
    Option("--authfile", "FILE", REFUSED, _PULL, "ch-image login"),
    Option("--docker-login", "", REFUSED, _PULL, "ch-image login"),
    Option("--no-https --nohttps", "", REFUSED, _PULL,
           "set insecure = true in registries.conf; a registry on this machine needs nothing"),
)  # fmt: skip
