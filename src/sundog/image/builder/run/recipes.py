"""The ways to get the program ``fakeroot`` into an image, one for each kind of distribution.

Data only; ``fakeroot`` obeys them.  The tags, names, words and order are Charliecloud's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_BOUNDARY = r"\s;&|(){}`<>'\""


@dataclass(frozen=True, slots=True)
class InitStep:
    """A shell command that prepares an image, unless the command ``check`` succeeds there."""

    check: str
    command: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """The preparation of the images whose file ``path`` has a line that matches ``pattern``.

    RUNs with one of ``words`` need fakeroot.
    """

    tag: str
    name: str
    path: str
    pattern: str
    words: tuple[str, ...]
    steps: tuple[InitStep, ...]

    def fits(self, text: str) -> bool:
        """Tell whether ``text``, the contents of the file, is that of such an image."""
        return re.search(self.pattern, text, re.MULTILINE) is not None

    def wants(self, texts: Iterable[str]) -> bool:
        """Tell whether a command needs fakeroot; ``texts`` are its arguments and its script.

        A word counts alone or with the path of a directory of programs.  A shell's operators and
        quotes end it, too: ``true&&dnf`` counts, and ``/var/lib/dpkg`` does not.
        """
        program = rf"(?:(?:/usr)?/s?bin/)?(?:{'|'.join(map(re.escape, self.words))})"
        word = re.compile(rf"(?<![^{_BOUNDARY}]){program}(?![^{_BOUNDARY}])")
        return any(word.search(text) for text in texts)


_CHECK = "command -v fakeroot > /dev/null"


def _enterprise(command: str) -> tuple[InitStep, ...]:
    """Return the steps for a distribution whose fakeroot is in EPEL.

    EPEL's repository stays only if the image has it already.
    """
    epel = "https://dl.fedoraproject.org/pub/epel/epel-release-latest-$(rpm -E %rhel).noarch.rpm"
    install, remove = f"{command} install -y", f"{command} remove -y"
    return (
        InitStep(
            _CHECK,
            r"set -e; if grep -Eqs '^\[epel\]' /etc/yum.conf /etc/yum.repos.d/*; "
            f"then {install} fakeroot; "
            f"else {install} {epel}; {install} fakeroot; {remove} epel-release; fi",
        ),
    )


_RPM_WORDS = ("dnf", "rpm", "yum")
_SANDBOX = "APT::Sandbox::User"

# The first that fits is used.
RECIPES = (
    Recipe(
        "fedora",
        "Fedora 24+",
        "/etc/fedora-release",
        r"release (?!1?[0-9] |2[0-3] )",
        _RPM_WORDS,
        (InitStep(_CHECK, "dnf install -y fakeroot"),),
    ),
    Recipe(
        "rhel7",
        "RHEL 7 and derivatives",
        "/etc/redhat-release",
        r"release 7\.",
        _RPM_WORDS,
        _enterprise("yum"),
    ),
    Recipe(
        "rhel8",
        "RHEL 8+ and derivatives",
        "/etc/redhat-release",
        r"release (?![0-7]\.)",
        _RPM_WORDS,
        _enterprise("dnf"),
    ),
    Recipe(
        "debderiv",
        "Debian 9+, Ubuntu 14+, or other derivative",
        "/etc/os-release",
        r"Debian GNU/Linux (?![0-8] )|Ubuntu (?![0-9]\.|1[0-3]\.)|^ID_LIKE=.*\bdebian\b",
        ("apt", "apt-get", "dpkg"),
        (
            InitStep(
                f"apt-config dump | grep -Fq '{_SANDBOX} \"root\"' || ! grep -q ^_apt: /etc/passwd",
                f"echo '{_SANDBOX} \"root\";' > /etc/apt/apt.conf.d/no-sandbox",
            ),
            InitStep(_CHECK, "apt-get update && apt-get install -y fakeroot"),
        ),
    ),
    Recipe(
        "suse",
        "(Open)SUSE 42.2+",
        "/etc/os-release",
        r"^ID_LIKE=.*suse",
        ("zypper", "rpm"),
        (InitStep(_CHECK, "zypper refresh; zypper install -y fakeroot /usr/bin/getopt"),),
    ),
    Recipe(
        "arch",
        "Arch Linux",
        "/etc/os-release",
        r"^ID(_LIKE)?=\"?arch",
        ("pacman",),
        (InitStep(_CHECK, "pacman -Syq --noconfirm fakeroot"),),
    ),
    Recipe(
        "alpine",
        "Alpine, any version",
        "/etc/alpine-release",
        r"^[0-9]+\.[0-9]+",
        ("apk",),
        (InitStep(_CHECK, "apk update; apk add fakeroot"),),
    ),
)
