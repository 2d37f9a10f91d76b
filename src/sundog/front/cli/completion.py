"""``ch-image __complete KIND WORD…``: the names that a shell's completion offers.

Completion scripts call this; ``--help`` does not list it.  It reads the storage directory and the
Dockerfile of the command line WORD…, creates nothing, asks no network, and never fails.  It prints
at most ``NAME_LIMIT`` names, one on each line.  All of their characters are harmless in a shell and
on a terminal; it leaves out other names.
"""

from __future__ import annotations

import os
import stat

from sundog.base.configuration.storage import default_storage
from sundog.errors import SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

NAME_LIMIT = 1000
DOCKERFILE_LIMIT = 1 << 20
_LENGTH_LIMIT = 255
_HARMLESS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@")
_OFFICIAL, _HUB, _LATEST = "docker.io/library/", "docker.io/", ":latest"


def print_names(arguments: Sequence[str]) -> None:
    """Print the names for a command line: ``images`` or ``stages``."""
    kind, words = (arguments[0], arguments[1:]) if arguments else ("", ())
    find = {"images": _images, "stages": _stages}.get(kind)
    try:
        names = sorted(_harmless(find(words)) if find else ())
        os.write(1, "".join(f"{name}\n" for name in names).encode())
    except (OSError, SundogError, ValueError):  # nobody reads a message between two keys
        pass


def _harmless(names: Iterable[str]) -> list[str]:
    found: set[str] = set()
    for name in names:
        if len(found) >= NAME_LIMIT:
            break
        if 0 < len(name) <= _LENGTH_LIMIT and _HARMLESS.issuperset(name) and name[0] != "-":
            found.add(name)
    return list(found)


def _images(words: Sequence[str]) -> Iterator[str]:
    """Yield the names of the images in storage as users type them."""
    named = _option(words, "-s", "--storage")
    path = os.path.expanduser(named) if named else os.fsdecode(default_storage(os.environb))
    with os.scandir(os.path.join(path, "images")) as entries:
        for entry in entries:
            name = entry.name.replace("%", "/").replace("+", ":")
            name = name.removeprefix(_OFFICIAL).removeprefix(_HUB)
            yield name.removesuffix(_LATEST)


def _stages(words: Sequence[str]) -> Iterator[str]:
    """Yield the names of a Dockerfile's stages."""
    path = _option(words, "-f", "--file")
    contexts = [word for word in words[1:-1] if os.path.isdir(word)]
    path = path or os.path.join(contexts[-1] if contexts else ".", "Dockerfile")
    # Opening a FIFO would wait for its writer.
    fd = os.open(os.path.expanduser(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return
        text = file.read(DOCKERFILE_LIMIT).decode(errors="replace")
    for line in text.splitlines():
        found = line.split()
        if len(found) > 3 and found[0].upper() == "FROM" and found[-2].upper() == "AS":
            yield found[-1]


def _option(words: Sequence[str], short: str, long: str) -> str:
    """Return the last argument of an option on a command line, or ""."""
    value = ""
    for number, word in enumerate(words):
        if word in (short, long):
            value = words[number + 1] if number + 1 < len(words) else ""
        elif word.startswith(f"{long}="):
            value = word.removeprefix(f"{long}=")
        elif word.startswith(short) and not word.startswith("--"):
            value = word.removeprefix(short)
    return value
