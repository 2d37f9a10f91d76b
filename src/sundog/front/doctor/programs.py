"""The programs of this machine that Sundog calls: run each one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import partial

from sundog.base.record.magic import SQUASHFS_MAGIC
from sundog.errors import ADMINISTRATOR, Hint, NotHere, SundogError
from sundog.front.doctor.outcome import Check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

TIME_LIMIT = 20  # seconds, for each program
# The programs that install packages, with the words before a package's name.
_INSTALLERS = {
    "apt-get": "apt-get install",
    "dnf": "dnf install",
    "zypper": "zypper install",
    "apk": "apk add",
    "pacman": "pacman -S",
}
_MADE, _TREE = "made.sqfs", "tree"


@dataclass(frozen=True, slots=True)
class Program:
    """A program, what Sundog needs it for, and the words that show that it runs.

    ``package`` is the package that has it in most distributions; ``packages`` are the exceptions,
    by the program that installs them.
    """

    name: str
    purpose: str
    package: str
    packages: tuple[tuple[str, str], ...] = ()
    trial: tuple[str, ...] = ("--version",)
    makes_squashfs: bool = False

    @property
    def remedy(self) -> str:
        """The hint that says how to install the program."""
        for installer, words in _INSTALLERS.items():
            if shutil.which(installer):
                package = dict(self.packages).get(installer, self.package)
                return Hint("", ADMINISTRATOR, f"{words} {package}")
        return ""


_PROGRAMS = (
    Program(
        "mksquashfs",
        "ch-convert makes SquashFS files with it",
        "squashfs-tools",
        (("zypper", "squashfs"),),
        (_TREE, _MADE, "-no-progress"),
        makes_squashfs=True,
    ),
    Program(
        "tar2sqfs",
        "ch-convert makes SquashFS files with it, if there is no mksquashfs",
        "squashfs-tools-ng",
        trial=("--quiet", _MADE),
        makes_squashfs=True,
    ),
    Program("git", "ch-image build takes contexts from Git with it", "git"),
    Program("rsync", "RSYNC of a Dockerfile copies with it", "rsync"),
    Program(
        "ssh-agent",
        "ch-image build --ssh with a key starts it",
        "openssh-client",
        (("dnf", "openssh-clients"), ("zypper", "openssh-clients"), ("pacman", "openssh")),
        ("true",),
    ),
    Program(
        "ldd",
        "ch-fromhost and ch-test find libraries with it",
        "libc-bin",
        (("dnf", "glibc-common"), ("zypper", "glibc"), ("pacman", "glibc")),
    ),
)
_EMPTY_TAR = bytes(10240)


def output_of(words: Sequence[str], cwd: str | None = None, *, stdin: bytes = b"") -> str:
    """Run a program to its end; return what it prints, errors too.

    Raises SundogError if it fails or takes longer than ``TIME_LIMIT``, and OSError.
    """
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIME_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SundogError(f"{words[0]} did not end within {TIME_LIMIT} s") from None
    said = done.stdout.decode(errors="replace")
    if done.returncode:
        last = "".join(said.strip().splitlines()[-1:]) or f"exit status {done.returncode}"
        raise SundogError(f"{words[0]} fails: {last[:200]}")
    return said


def _try(program: Program) -> str:
    path = shutil.which(program.name)
    if path is None:
        raise NotHere(f"not installed: {program.purpose}", program.remedy)
    with tempfile.TemporaryDirectory(prefix="sundog-doctor.") as place:
        os.mkdir(os.path.join(place, _TREE))
        output_of([path, *program.trial], place, stdin=_EMPTY_TAR)
        if program.makes_squashfs:
            with open(os.path.join(place, _MADE), "rb") as file:
                if file.read(len(SQUASHFS_MAGIC)) != SQUASHFS_MAGIC:
                    raise SundogError(f"the output of {path} is not a SquashFS file")
    return path


PROGRAMS = tuple(
    Check(f"program: {one.name}", partial(_try, one), in_child=False) for one in _PROGRAMS
)
