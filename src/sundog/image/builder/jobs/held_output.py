"""Messages and output of stages that are built side by side, in the order of the stages.

Those of the first unfinished stage are shown at once.  Those of the others wait: a few in memory,
more in a nameless file.  Of much output, the beginning and the end are kept.
"""

from __future__ import annotations

import tempfile
from collections import deque

from sundog.base.wire.values import pack_value, unpack_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import IO

    from sundog.image.builder.report import Message, Send

OUTPUT = "output"  # the first word of a message with output of a RUN
KEPT = 16 << 20  # bytes of the beginning and of the end, each
_IN_MEMORY = 1 << 18  # bytes
_LENGTH_SIZE = 4


class _File:
    """Messages that wait, in memory at first; on a full disk, the rest is ``lost``."""

    def __init__(self) -> None:
        self.size = 0
        self.lost = 0
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115

    def add(self, message: Message) -> None:
        data = pack_value(message)
        try:
            self._file.seek(self.size)
            self._file.write(len(data).to_bytes(_LENGTH_SIZE, "big") + data)
            self._file.flush()
        except OSError:
            self.lost += _output_size(message)
            return
        self.size += _LENGTH_SIZE + len(data)

    def messages(self) -> Iterator[Message]:
        self._file.seek(0)
        left = self.size
        while left:
            size = int.from_bytes(self._file.read(_LENGTH_SIZE), "big")
            message = unpack_value(self._file.read(size))
            assert isinstance(message, tuple)
            yield message
            left -= _LENGTH_SIZE + size

    def close(self) -> None:
        self._file.close()


class _Waiting:
    """The messages of one stage.  Output in the middle of too much output is left out."""

    def __init__(self) -> None:
        self._beginning = _File()
        self._end: deque[_File] = deque()
        self._left_out = 0

    def add(self, message: Message) -> None:
        if not self._end and self._beginning.size < KEPT:
            self._beginning.add(message)
            return
        if not self._end or self._end[-1].size >= KEPT:
            self._end.append(_File())
        self._end[-1].add(message)
        if len(self._end) > 2:
            self._leave_out(self._end.popleft())

    def _leave_out(self, file: _File) -> None:
        """Keep of these messages only what is no output."""
        for message in file.messages():
            if message[0] == OUTPUT:
                self._left_out += _output_size(message)
            else:
                self._beginning.add(message)
        self._left_out += file.lost
        file.close()

    def messages(self) -> Iterator[Message]:
        yield from self._beginning.messages()
        if left_out := self._left_out + self._beginning.lost:
            yield (OUTPUT, 1, f"\n[{left_out} bytes of output are left out]\n".encode())
        for file in self._end:
            yield from file.messages()

    def close(self) -> None:
        for file in (self._beginning, *self._end):
            file.close()


class HeldOutput:
    """The messages of ``stages``, which ``show`` gets in their order."""

    def __init__(self, stages: Sequence[int], show: Send) -> None:
        self._show: Callable[[Message], None] = show
        self._unfinished = list(stages)
        self._finished: set[int] = set()
        self._waiting: dict[int, _Waiting] = {}

    def add(self, stage: int, message: Message) -> None:
        """Show a message, or keep it."""
        if self.is_first(stage):
            self._show(message)
        else:
            if stage not in self._waiting:
                self._waiting[stage] = _Waiting()
            self._waiting[stage].add(message)

    def is_first(self, stage: int) -> bool:
        """Tell whether a stage is the one whose messages are shown at once."""
        return self._unfinished[:1] == [stage]

    def finish(self, stage: int) -> None:
        """Take note that a stage has no more messages; show those of the next."""
        self._finished.add(stage)
        while self._unfinished and self._unfinished[0] in self._finished:
            del self._unfinished[0]
            if self._unfinished:
                self._release(self._unfinished[0])

    def restart(self, *stages: int) -> None:
        """Drop the messages of stages that begin again; none of them has been shown."""
        for stage in stages:
            self._finished.discard(stage)
            if stage in self._waiting:
                self._waiting.pop(stage).close()

    def end(self, last: int) -> None:
        """Show all messages, those of the stage ``last`` at the end."""
        for stage in (*(stage for stage in self._unfinished if stage != last), last):
            self._release(stage)
        self._unfinished.clear()

    def _release(self, stage: int) -> None:
        waiting = self._waiting.pop(stage, None)
        if waiting is not None:
            for message in waiting.messages():
                self._show(message)
            waiting.close()


def _output_size(message: Message) -> int:
    return sum(len(part) for part in message if isinstance(part, bytes))
