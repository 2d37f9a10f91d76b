"""Look at the trees from inside a container, with the programs that people use."""

from __future__ import annotations

import re
import stat
from collections import defaultdict
from typing import TYPE_CHECKING

from scripts.fidelity.entries import OUTSIDE, View, grouped

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORY = "/tmp/look"  # paths that are never compared
PROGRAMS = ("stat", "find", "getcap", "getfacl")

# List all that is in the root and compared; then each program writes one file.
# BusyBox has no find -printf, and Alpine neither of the last two.
SCRIPT = rf"""
set -e; umask 022; rm -rf {DIRECTORY}; mkdir -p {DIRECTORY}; cd /; set --
for name in * .[!.]*; do
    case $name in {"|".join(sorted(OUTSIDE))}) continue;; esac
    if test -e "$name" -o -L "$name"; then set -- "$@" "$name"; fi
done
find "$@" -exec stat -c '%n|%f %u %g %t %T|%h %i' {{}} + >{DIRECTORY}/stat
if find / -maxdepth 0 -printf '' 2>/dev/null; then
    find "$@" -printf '%p|%y %#m %U:%G %u:%g %l\n' >{DIRECTORY}/find
fi
if command -v getcap >/dev/null; then getcap -r -n "$@" >{DIRECTORY}/getcap; fi
if command -v getfacl >/dev/null; then getfacl -R -P -n -s "$@" >{DIRECTORY}/getfacl; fi
"""


def read(directory: Path) -> dict[str, View]:
    """Read the output by program, without sockets, which no archive can hold."""
    parsers = {"stat": _stat, "find": _lines, "getcap": _capabilities, "getfacl": _lists}
    texts = {path.name: path.read_text(errors="surrogateescape") for path in directory.iterdir()}
    return {program: parsers[program](texts[program]) for program in PROGRAMS if program in texts}


def _stat(text: str) -> View:
    """Leave out inode numbers: they only show hard links."""
    view = View()
    names: dict[str, set[str]] = defaultdict(set)
    for line in text.splitlines():
        path, facts, inode = line.rsplit("|", 2)
        kind = stat.S_IFMT(int(facts.split()[0], 16))
        if kind == stat.S_IFSOCK:
            continue
        view.entries[path] = facts
        count, number = inode.split()
        if count != "1" and kind != stat.S_IFDIR:
            names[number].add(path)
    view.links = grouped(names.values())
    return view


def _lines(text: str) -> View:
    pairs = (line.rsplit("|", 1) for line in text.splitlines())
    return View({path: facts for path, facts in pairs if not facts.startswith("s ")})


def _capabilities(text: str) -> View:
    """Read ``PATH NAMES=FLAGS``; older versions have " = " before the names."""
    pairs = (line.rsplit(" ", 1) for line in text.splitlines())
    return View({path.removesuffix(" ="): facts for path, facts in pairs})


def _lists(text: str) -> View:
    """Read paragraphs that begin with the line ``# file: PATH``."""
    view = View()
    for paragraph in re.split(r"\n\n+", text.strip()):
        first, *rest = paragraph.splitlines() or [""]
        view.entries[first.removeprefix("# file: ")] = "; ".join(rest)
    view.entries.pop("", None)
    return view
