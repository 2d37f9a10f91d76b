"""The options of ``sundog apptainer build``, and what TARGET and SOURCE are.

Specification: the help of Apptainer 1.4, and its user guide.
"""

from __future__ import annotations

from sundog.errors import UsageError
from sundog.front.options import HELD, REFUSED, TAKEN, WARNED, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.options import Line

_RIGHTS = "the build has your own rights"
_PULL = "registries and logins are those of ch-image"
_ENCRYPTED = "nothing is encrypted"
_DEVICES = "no program of a vendor adds files to a build"
# The words of --section.
SECTIONS = ("all", "none", "setup", "post", "files", "environment", "labels", "test")

BUILD = (
    Option("--help -h", "", TAKEN, "print this help and exit"),
    Option("--arch", "ARCH", TAKEN, "the architecture of images that are pulled"),
    Option("--bind -B", "SRC[:DST[:ro]]", TAKEN, "show the host's SRC to %post at DST; a list"),
    Option("--build-arg", "NAME=VALUE", TAKEN, "the value of {{ NAME }} in the definition file"),
    Option("--build-arg-file", "FILE", TAKEN, "lines NAME=VALUE"),
    Option("--docker-password", "TEXT", TAKEN, "a login, with --docker-username"),
    Option("--docker-username", "NAME", TAKEN, "the user that --docker-password belongs to"),
    Option("--disable-cache", "", TAKEN, "run all sections again, and remember nothing"),
    Option("--force -F", "", TAKEN, "replace TARGET"),
    Option("--mount", "type=bind,src=SRC,dst=DST[,ro]", TAKEN, "as --bind, spelled out"),
    Option("--notest -T", "", TAKEN, "do not run %test"),
    Option("--tmpdir", "DIR", TAKEN, "the directory for temporary files"),
    Option("--sandbox -s", "", TAKEN, "make a directory"),
    Option("--section", "NAME", TAKEN, f"run these sections only: {', '.join(SECTIONS)}; a list"),
    Option("--update -u", "", TAKEN, "run the sections in the directory TARGET"),
    Option("--warn-unused-build-args", "", TAKEN, "unused values are no error"),
    # These hold in any case.
    Option("--fakeroot -f", "", HELD, "%post always sees itself as root"),
    Option("--fix-perms", "", HELD, "you may remove what a build makes"),
    Option("--ignore-fakeroot-command", "", HELD, "no program fakeroot is used"),
    Option("--ignore-subuid", "", HELD, "/etc/subuid is not used"),
    Option("--ignore-userns", "", HELD, "there is one way to build"),
    Option("--no-setgroups", "", HELD, "groups are emulated"),
    Option("--userns", "", HELD, "there is no other way here"),
    Option("--json", "", HELD, "no definition file is JSON"),
    Option("--writable-tmpfs", "", HELD, "%test may write; its changes are discarded"),
    # These have no effect, and do no harm.
    Option("--arch-variant", "VARIANT", WARNED, "--arch takes it: arm/v7"),
    Option("--docker-host", "ADDRESS", WARNED, "the program docker reads $DOCKER_HOST"),
    Option("--library", "ADDRESS", WARNED, "Sundog knows no library"),
    Option("--mksquashfs-args", "ARGUMENTS", WARNED, "all programs must read the result"),
    Option("--no-cleanup", "", WARNED, "the state before a section that fails stays in storage"),
    # The result would miss these.
    Option("--authfile", "FILE", REFUSED, _PULL, "ch-image login"),
    Option("--docker-login", "", REFUSED, _PULL, "ch-image login"),
    Option("--remote", "", REFUSED, "there is no service that builds", "leave it out"),
    Option("--no-https --nohttps", "", REFUSED, _PULL,
           "ch-image pull --tls-no-verify NAME, then again"),
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
