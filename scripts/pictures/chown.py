"""The answers to a chown(2) under each emulation of root."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from scripts.pictures.svg import PAD, WIDTH, Box, Drawing, height_of, wrap
from sundog.image.store.run_force import FORCE_TAGS
from sundog.runtime.emulation.notify.seccomp.program import NOTIFIED
from sundog.runtime.emulation.syscalls import FAKED_CALLS

MODES = ("none", "seccomp", "fakeroot", "notify")
LABELS = 84  # pixels of the column with the names of the rows
GAP = 10
COLUMN = (WIDTH - LABELS - GAP) / len(MODES)
DROP = 24  # pixels of an arrow between two rows

# The plain names: i386 and arm have more for the same calls.
_FAKED = [name for name, _ in FAKED_CALLS if not name.endswith("32")]
_CHOWNS = [name for name in _FAKED if "chown" in name]


@dataclass(frozen=True)
class Row:
    """The acts of one party under each mode, in the order of MODES; "" is nothing."""

    name: str
    fill: str
    cells: tuple[str, str, str, str]


def rows() -> list[Row]:
    """Return the rows from the call to the image."""
    if not set(_CHOWNS) <= set(NOTIFIED):
        raise ValueError("a mode leaves out a call of the family of chown(2)")
    refused = os.strerror(errno.EINVAL)
    return [
        Row("in the program", "plain", (
            "", "", "the library libfakeroot takes the call, if the program loads libraries", "",
        )),
        Row("filter in the kernel", "kernel", (
            "",
            f"answers 0 to {len(_FAKED)} calls, among them {', '.join(_CHOWNS)}",
            "",
            f"hands {len(NOTIFIED)} calls to the supervisor, and some more by their arguments",
        )),
        Row("beside the program", "sundog", (
            "", "", "the daemon faked remembers 1:2", "the supervisor remembers 1:2 for this inode",
        )),
        Row("kernel", "kernel", (
            "the namespace has one user: refused", "does nothing", "never sees the call",
            "chown to the owner that the inode has: change time, events, copy-up",
        )),
        Row("the program gets", "plain", (refused, "0: done", "0: done", "0: done")),
        Row("stat(2) later", "plain", ("0:0", "0:0", "1:2, in this RUN", "1:2, always")),
        Row("the image keeps", "quiet", ("0:0", "0:0", "0:0", "1:2")),
    ]  # fmt: skip


def draw() -> Drawing:
    """Return the picture."""
    drawing = Drawing("How chown 1:2 FILE is answered under each mode of --force")
    tops = [LABELS + number * COLUMN for number in range(len(MODES))]
    drawing.text(WIDTH / 2, 26, "chown 1:2 FILE, by a program in a RUN", size=14, style="mono bold",
                 anchor="middle")  # fmt: skip
    y = 42.0
    ends = []
    for mode, x in zip(MODES, tops, strict=True):
        box = Box(x, y, COLUMN - GAP, height_of([], title=True))
        drawing.box(box, [], fill="quiet", title=mode)
        tag = f"RUN.{FORCE_TAGS[mode]}"
        drawing.text(x + box.width - PAD, y + 20, tag, style="mono", anchor="end")
        ends.append(box.bottom)
    y = ends[0] + DROP
    for row in rows():
        texts = [wrap(cell, COLUMN - GAP - 2 * PAD) for cell in row.cells]
        height = max(height_of(lines) for lines in texts)
        for number, line in enumerate(wrap(row.name, LABELS - 2 * PAD)):
            drawing.text(PAD, y + 18 + 15 * number, line, style="accent")
        for number, (x, lines) in enumerate(zip(tops, texts, strict=True)):
            if not lines:
                continue
            box = Box(x, y, COLUMN - GAP, height)
            drawing.arrow((box.middle, ends[number]), (box.middle, y))
            drawing.box(box, lines, fill=row.fill)
            ends[number] = box.bottom
        y += height + DROP
    return drawing
