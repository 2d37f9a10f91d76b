"""The program that runs inside, on both sides: the row's script, then a list of what it made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scripts.programs.rows import Row

BEGIN = "=== the row begins"
END = "=== the row ends with status "
LISTED = "=== the list ends"
# No row makes files elsewhere, unless its key `look` says so. Of the root, only its own entries.
PLACES = ("/w", "/etc", "/home", "/opt", "/root", "/run", "/srv", "/tmp", "/usr/local", "/var")

# $1: the script, $2: its limit in seconds, $3: more places. What is made has a younger change time
# than /.begin.
RUNNER = rf"""
umask 022; mkdir -p /w; cd /w; touch /.begin; sleep 0.02
echo '{BEGIN}'
timeout --kill-after=5 "$2" bash -euc "$1" row </dev/null 2>&1
status=$?; echo; echo '{END}'$status
python3 -c "$4" {" ".join(PLACES)} $3
echo '{LISTED}'
"""

LISTER = r"""
import os, stat, sys
begin = os.lstat("/.begin").st_ctime_ns
def show(path):
    status = os.lstat(path)
    if status.st_ctime_ns <= begin:
        return
    kind = stat.filemode(status.st_mode)[0]
    words = [kind, f"{stat.S_IMODE(status.st_mode):04o}", f"{status.st_uid}:{status.st_gid}"]
    if kind in "cb":
        words.append(f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}")
    if kind != "d":
        words.append(f"links={status.st_nlink}")
    if kind == "l":
        words.append("-> " + os.readlink(path))
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        words.append(name + "=" + os.getxattr(path, name, follow_symlinks=False).hex())
    print(ascii(path)[1:-1], *words, sep=" ")
def walk(top):
    if not os.path.lexists(top):
        return
    show(top)
    for directory, directories, files in os.walk(top):
        directories.sort()
        for name in sorted(directories + files):
            try:
                show(os.path.join(directory, name))
            except FileNotFoundError:
                pass
for name in sorted(os.listdir("/")):
    if "/" + name not in sys.argv and name not in ("dev", "proc", "sys", ".begin", "ch", "mnt"):
        show("/" + name)
for place in sys.argv[1:]:
    walk(place)
"""


@dataclass(frozen=True)
class Result:
    """The result of a row: its output, its exit status (None: it did not end), and what it made."""

    output: str
    status: int | None
    made: tuple[str, ...] = ()


def command(row: Row) -> list[str]:
    """Return the command that runs inside."""
    options = row.options
    arguments = [row.script, options["seconds"], options["look"], LISTER]
    return ["/bin/bash", "-c", RUNNER, "bash", *arguments]


def read(text: str) -> Result:
    """Read what the command printed; lines before and after it are another program's."""
    _, begun, rest = text.partition(f"{BEGIN}\n")
    output, ended, rest = rest.rpartition(f"\n{END}")
    if not begun or not ended:
        return Result(text, None)
    status, _, rest = rest.partition("\n")
    made, _, _ = rest.partition(LISTED)
    return Result(output.rstrip("\n"), int(status), tuple(made.splitlines()))
