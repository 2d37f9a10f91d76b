"""``sundog apptainer overlay create``: it makes a directory, which ``--overlay`` takes."""

from __future__ import annotations

import os
import posixpath

from sundog.errors import SundogError, UsageError
from sundog.front.apptainer.line import listed, scan_line
from sundog.front.apptainer.messages import INFO, WARNING
from sundog.front.apptainer.overlay_options import CREATE
from sundog.front.cli.sundog_help import print_help
from sundog.front.options import unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.apptainer.messages import Messages
    from sundog.front.cli.sundog_context import Context

_NAME = "overlay create"


def overlay(words: Sequence[str], _context: Context, messages: Messages) -> int:
    """Run a line of ``overlay``; return the exit status.  Raises SundogError and OSError."""
    if not words or words[0] in ("--help", "-h", "help"):
        return print_help(f"apptainer {_NAME}") or (0 if words else 1)
    if words[0] != "create":
        raise unknown(words[0], ["create"], "apptainer overlay")
    line = scan_line(_NAME, words[1:], CREATE, os.environ)
    if line.is_set("help"):
        return print_help(f"apptainer {_NAME}")
    if len(line.operands) != 1:
        raise UsageError(f"{_NAME}: it takes one path", f"apptainer {_NAME} DIR")
    [path] = line.operands
    inside = [_inside(name) for name in listed(line, "create-dir")]
    try:
        os.mkdir(path)
        for name in ("upper", "work"):
            os.mkdir(os.path.join(path, name))
        for name in inside:
            os.makedirs(f"{path}/upper{name}", exist_ok=True)
    except FileExistsError:
        raise SundogError(f"{path} already exists", "give another path, or remove it") from None
    except OSError as error:
        raise SundogError(f"can't make {error.filename or path}: {error.strerror}") from error
    for text in line.warnings:
        messages.say(WARNING, text)
    messages.say(INFO, f"{path} is a directory: exec --overlay {path} IMAGE COMMAND")
    return 0


def _inside(name: str) -> str:
    """Return the path of --create-dir below the root of the overlay.  Raises UsageError."""
    path = posixpath.normpath(name.lstrip("/") or ".")
    if path == ".." or path.startswith("../"):
        raise UsageError(f"--create-dir {name}: it leads out of the overlay", "leave out ..")
    return f"/{path}"
