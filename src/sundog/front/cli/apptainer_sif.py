"""``sundog apptainer sif``: the objects of a SIF."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager

from sundog.base.kernel.files import Closing
from sundog.errors import NotInStorage, SundogError, UsageError
from sundog.front.apptainer.shared_options import HELP
from sundog.front.apptainer.sif import SIF_REFUSED, SIF_SUBCOMMANDS
from sundog.front.cli.apptainer_report import ApptainerReport, run_reported
from sundog.front.cli.output import print_line
from sundog.front.options import scan, unknown
from sundog.image.sif.editing import delete_object, descriptor_of
from sundog.image.sif.listing import header_lines, info_lines, list_lines
from sundog.image.sif.reader import read_sif

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sundog.front.apptainer.messages import Messages
    from sundog.front.cli.sundog_context import Context
    from sundog.image.sif.reader import Sif

_CHUNK = 1 << 20


def sif(words: Sequence[str], context: Context, messages: Messages) -> int:  # noqa: ARG001
    """Show a SIF, or delete an object of it; return the exit status."""
    line = scan(words, (HELP,), command="apptainer sif")
    name, *operands = line.operands or [""]
    if line.is_set("help") or not name:
        from sundog.front.cli.sundog_help import print_help

        shown = f"apptainer sif {name}" if name in SIF_SUBCOMMANDS else "apptainer sif"
        return print_help(shown)
    if name in SIF_REFUSED:
        why, hint = SIF_REFUSED[name]
        raise SundogError(f"sundog apptainer has no sif {name}: {why}", hint)
    if name not in SIF_SUBCOMMANDS:
        raise unknown(name, [*SIF_SUBCOMMANDS, *SIF_REFUSED], "apptainer sif")
    usage, _ = SIF_SUBCOMMANDS[name]
    if len(operands) != len(usage.split()):
        raise UsageError(f"sif {name}: not {usage}", f"apptainer sif {name} {usage}")
    *numbers, path = operands
    number = _number(numbers[0]) if numbers else 0

    def act() -> int:
        _act(name, path, number)
        return 0

    return run_reported(act, ApptainerReport(messages))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(f"not the number of an object: {text}", "apptainer sif list FILE")
    return int(text)


def _act(name: str, path: str, number: int) -> None:
    if name == "del":
        delete_object(path, number)
        return
    with _opened(path) as (file, found):
        if name == "dump":
            _dump(file, path, found, number)
            return
        lines = {
            "list": lambda: list_lines(found),
            "header": lambda: header_lines(found),
            "info": lambda: info_lines(descriptor_of(found, number, path)),
        }
        for text in lines[name]():
            print_line(text)


@contextmanager
def _opened(path: str) -> Iterator[tuple[int, Sif]]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NotInStorage(f"can't read {path}: {error.strerror}") from None
    with Closing(fd):
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise SundogError(f"can't read {path}: not a regular file", "name a SIF")
        yield fd, read_sif(fd, os.fsencode(path))


def _dump(file: int, path: str, found: Sif, number: int) -> None:
    each = descriptor_of(found, number, path)
    sys.stdout.flush()
    place = each.offset
    while place < each.end:
        data = os.pread(file, min(_CHUNK, each.end - place), place)
        if not data:
            raise SundogError(f"{path} has become shorter while it was read")
        sys.stdout.buffer.write(data)
        place += len(data)
    sys.stdout.flush()
