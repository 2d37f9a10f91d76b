"""The options of ``sundog apptainer build``, and what TARGET and SOURCE are.

Specification: the help of Apptainer 1.4, and its user guide.
"""

from __future__ import annotations

from sundog.errors import UsageError
from sundog.front.apptainer.shared_options import (
    BIND,
    FORCE,
    HELP,
    LIBRARY,
    LOGIN,
    MOUNT,
    PLATFORM,
    REGISTRIES,
    TMPDIR,
    WAYS_TO_BE_ROOT,
)
from sundog.front.options import HELD, REFUSED, TAKEN, WARNED, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.options import Line

_ENCRYPTED = "nothing is encrypted"
_DEVICES = "no program of a vendor adds files to a build"
# The words of --section.
SECTIONS = ("all", "none", "setup", "post", "files", "environment", "labels", "test")

BUILD = (
    HELP,
    *PLATFORM,
    BIND,
    Option("--build-arg", "NAME=VALUE", TAKEN, "the value of {{ NAME }} in the definition file"),
    Option("--build-arg-file", "FILE", TAKEN, "lines NAME=VALUE"),
    *LOGIN,
    Option("--disable-cache", "", TAKEN, "run all sections again, and remember nothing"),
    FORCE,
    MOUNT,
    Option("--notest -T", "", TAKEN, "do not run %test"),
    TMPDIR,
    Option("--sandbox -s", "", TAKEN, "make a directory"),
    Option("--section", "NAME", TAKEN, f"run these sections only: {', '.join(SECTIONS)}; a list"),
    Option("--update -u", "", TAKEN, "run the sections in the directory TARGET"),
    Option("--warn-unused-build-args", "", TAKEN, "unused values are no error"),
    # These hold in any case.
    Option("--fakeroot -f", "", HELD, "%post always sees itself as root"),
    Option("--fix-perms", "", HELD, "you may remove what a build makes"),
    *WAYS_TO_BE_ROOT,
    Option("--no-setgroups", "", HELD, "groups are emulated"),
    Option("--userns", "", HELD, "there is no other way here"),
    Option("--json", "", HELD, "no definition file is JSON"),
    Option("--writable-tmpfs", "", HELD, "%test may write; its changes are discarded"),
    # These have no effect, and do no harm.
    Option("--docker-host", "ADDRESS", WARNED, "the program docker reads $DOCKER_HOST"),
    LIBRARY,
    Option("--mksquashfs-args", "ARGUMENTS", WARNED, "all programs must read the result"),
    Option("--no-cleanup", "", WARNED, "the state before a section that fails stays in storage"),
    # The result would miss these.
    *REGISTRIES,
    Option("--remote", "", REFUSED, "there is no service that builds", "leave it out"),
    Option("--encrypt -e", "", REFUSED, _ENCRYPTED, "leave it out"),
    Option("--passphrase", "", REFUSED, _ENCRYPTED, "leave it out"),
    Option("--pem-path", "FILE", REFUSED, _ENCRYPTED, "leave it out"),
    Option("--nv", "", REFUSED, _DEVICES, "--bind what %post needs"),
    Option("--nvccli", "", REFUSED, _DEVICES, "--bind what %post needs"),
    Option("--rocm", "", REFUSED, _DEVICES, "--bind what %post needs"),
    Option("--intel-hpu", "", REFUSED, _DEVICES, "--bind what %post needs"),
)  # fmt: skip


def sections(line: Line) -> frozenset[str]:
    """Return the words of --section; raise UsageError for one that is none."""
    words = [word for text in line.all("section") for word in text.split(",") if word]
    for word in words:
        if word not in SECTIONS:
            raise UsageError(f"--section: no such section: {word}", f"one of: {' '.join(SECTIONS)}")
    return frozenset(words)
