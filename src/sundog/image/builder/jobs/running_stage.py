"""The process of a stage, as the build sees it that has forked it."""

from __future__ import annotations

import select
from contextlib import suppress

from sundog.image.builder.jobs.held_output import OUTPUT
from sundog.image.builder.jobs.running_process import RunningProcess
from sundog.image.store.worker import receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.builder.report import Announcement, Message

_SHOWN = 60  # characters of an instruction


class RunningStage(RunningProcess):
    """The process ``pid``, which builds the stage ``index``; ``link`` leads there.

    ``key`` is that of the step that it makes, which ``announced`` shows.  ``needed`` is the stage
    that it waits for, or -1.
    """

    def __init__(
        self, index: int, pid: int, link: int, key: str, announced: Announcement | None
    ) -> None:
        super().__init__(index, pid, [link])
        self.key = key
        self.needed = -1
        self._link = link
        if announced is not None:
            self.note(("begin", *announced.fields()))

    def note(self, message: Message) -> None:
        """Take note of what it reports."""
        match message:
            case ("begin", _, _, str(text), _, str(place), *_):
                text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
                self.note_begin(f"[{place}] {text}")
            case (str(kind), int(), bytes(piece)) if kind == OUTPUT:
                self.note_output(piece)

    def move_on(self, key: str) -> None:
        """Take note that it makes another step."""
        self.key = key

    def wait_for(self, needed: int) -> None:
        """Take note that it waits for a stage, and has no job meanwhile."""
        self.needed = needed

    def answer(self, data: bytes) -> None:
        """Give it what it waits for."""
        self.needed = -1
        with suppress(OSError):  # it has died: its end comes next
            send(self._link, data)

    def received(self) -> bytes | None:
        """Return a message; None if the process has ended, and has sent no more."""
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        if not poll.poll(0):
            return None
        try:
            return receive(self._link)
        except ConnectionResetError:
            return None
