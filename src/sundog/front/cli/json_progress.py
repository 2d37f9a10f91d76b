"""``--progress=rawjson``: the progress of a build as lines of JSON on standard error.

Each line is an object in the form of BuildKit's SolveStatus, which viewers of BuildKit's builds
read: ``vertexes`` (what the build does), ``statuses`` (transfers), ``logs`` (output and messages)
and ``warnings``.  Bytes are in base64.

What belongs to no instruction belongs to a vertex of its own, ``[internal] ch-image``.  Every line
has a bound: whatever an instruction prints, or is.
"""

from __future__ import annotations

import json
import os
import time
from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256

from sundog.front.cli.report import Report, Transfer
from sundog.image.builder.report import HIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sundog.image.builder.report import Announcement, Message, Send
    from sundog.runtime.process.relay import OutputSink

STDOUT, STDERR = 1, 2
PIECE = 1 << 14  # bytes of one log
NAME_LIMIT = 1000  # characters of a name, an error or a warning; JSON has up to 12 bytes for one
INPUTS_LIMIT = 64
SECONDS = 0.1  # between two statuses of one transfer
INTERNAL = "[internal] ch-image"
WARNING_LEVEL = 1


class JsonReport(Report):
    """Writes every message as JSON; the vertex that began last is the one that messages are of.

    Of stages that are built side by side, each is in a process with a vertex of its own.
    """

    def __init__(self, level: int = 0) -> None:
        super().__init__(level, is_plain=True)
        self._count = 0
        self._vertex: dict[str, Any] = {}
        self._is_open = False
        self._last: dict[int, str] = {}  # the last vertex of each stage

    @property
    def output_sink(self) -> OutputSink:
        """The object that takes the output of RUN."""
        return self._log

    @property
    def is_ordered(self) -> bool:
        """Return False: each message names its vertex."""
        return False

    def divert(self, send: Send | None) -> None:
        """See ``Report``; without ``send``, leave an open vertex to the process that goes on."""
        super().divert(send)
        if send is None and self._is_open:
            self._is_open = False
            self._vertex = {}

    def begin(self, announcement: Announcement) -> None:
        """Begin the vertex of an instruction, which ends at once if its result was cached."""
        self.end()
        stage = announcement.stage
        inputs = [self._last.get(number) for number in (stage, *announcement.needs)]
        place = f"[{announcement.place}] " if announcement.place else ""
        self._open(place + announcement.text, [digest for digest in inputs if digest])
        if stage >= 0:
            self._last[stage] = self._vertex["digest"]
            self._diverted("vertex", stage, self._vertex["digest"])
        if announcement.status == HIT:
            self._vertex["cached"] = True
            self.end()

    def end(self, error: str = "") -> None:
        """End the vertex that began last, unless it has ended."""
        if self._is_open:
            self._is_open = False
            self._vertex["completed"] = _now()
            if error:
                self._vertex["error"] = _bounded(error)
            self._emit(vertexes=[self._vertex])

    def warning(self, text: str) -> None:
        """Report a warning, each only once."""
        if text not in self._warnings and self.level >= -1:
            vertex = self._own_vertex()
            if not self._diverted("warned", text, vertex):
                self._warned(text, vertex)

    def _warned(self, text: str, vertex: str) -> None:
        if text not in self._warnings:
            self._warnings.append(text)
            short = b64encode(_bounded(text).encode()).decode()
            self._emit(warnings=[{"vertex": vertex, "level": WARNING_LEVEL, "short": short}])

    def finish(self) -> None:
        """Do nothing: the reader of JSON has all warnings."""

    def transfer(self, label: str, verb: str, total: int | None) -> Transfer:
        """Report that a transfer of ``total`` bytes begins."""
        return _JsonTransfer(self, label, verb, total)

    quiet_transfer = transfer

    def status(self, status: dict[str, Any]) -> None:
        """Report the status of a transfer, which is part of the present vertex."""
        self._emit(statuses=[{**status, "vertex": self._own_vertex(), "timestamp": _now()}])

    def _fail(self, text: str, excerpt: Sequence[str], hint: str) -> None:
        self._own_vertex()
        self.end(text)
        hints = [f"hint: {hint}"] if hint else []
        self._write("", f"error: {text}", *excerpt, *hints)

    def _write(self, colour: str, message: str, *excerpt: str) -> None:  # noqa: ARG002
        text = "\n".join([message, *excerpt, ""])
        self._log(STDERR, text.encode("utf-8", "backslashreplace"))

    def _log(self, stream: int, data: bytes) -> None:
        for start in range(0, len(data), PIECE):
            piece = b64encode(data[start : start + PIECE]).decode()
            log = {"vertex": self._own_vertex(), "stream": stream, "data": piece}
            self._emit(logs=[{**log, "timestamp": _now()}])

    def _own_vertex(self) -> str:
        """Return the digest of the vertex that a message belongs to."""
        with self._lock:
            if not self._is_open and "error" not in self._vertex:
                self._open(INTERNAL)
            digest: str = self._vertex["digest"]
            return digest

    def _open(self, name: str, inputs: Sequence[str] = ()) -> None:
        self._count += 1
        identity = f"{os.getpid()} {time.time_ns()} {self._count} {name}"
        digest = sha256(identity.encode("utf-8", "backslashreplace")).hexdigest()
        self._vertex = {"digest": f"sha256:{digest}", "name": _bounded(name), "started": _now()}
        if inputs:
            self._vertex["inputs"] = inputs[:INPUTS_LIMIT]
        self._is_open = True
        self._emit(vertexes=[self._vertex])

    def _emit(self, **status: list[dict[str, Any]]) -> None:
        line = json.dumps(status) + "\n"
        if not self._diverted("json", line):
            self._write_line(line)

    def _write_line(self, line: str) -> None:
        with self._lock:
            self._stream.write(line)
            self._stream.flush()

    def _replay(self, message: Message) -> None:
        match message:
            case ("json", str(line)):
                self._write_line(line)
            case ("vertex", int(stage), str(digest)):
                self._last[stage] = digest
            case ("warned", str(text), str(vertex)):
                self._warned(text, vertex)
            case _:
                super()._replay(message)


class _JsonTransfer(Transfer):
    def __init__(self, report: JsonReport, label: str, verb: str, total: int | None) -> None:
        self._report = report
        self._current = 0
        self._status = {"id": _bounded(label), "name": verb, "total": total or 0, "started": _now()}
        self._reported = time.monotonic()
        report.status({**self._status, "current": 0})

    def advance(self, size: int) -> None:
        self._current += size
        now = time.monotonic()
        if now - self._reported > SECONDS:
            self._reported = now
            self._report.status({**self._status, "current": self._current})

    def end(self) -> None:
        self._report.status({**self._status, "current": self._current, "completed": _now()})


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _bounded(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= NAME_LIMIT else f"{text[:NAME_LIMIT]}…"
