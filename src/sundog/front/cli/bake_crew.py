"""Build targets of a bake file side by side, each by a line of ``sundog build`` in a process.

A target begins when those that it waits for are done.  Its output waits for its turn, in the order
of the targets.  Two targets do not run equal steps twice: builds in one store take turns.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass

from sundog.base.kernel.process import fork, set_pdeathsig
from sundog.front.cli.sundog_context import EXIT_SUNDOG
from sundog.image.builder.jobs.held_output import OUTPUT, HeldOutput
from sundog.image.builder.jobs.running_process import (
    NO_MORE,
    RunningProcess,
    end_all,
    end_at_once,
    lost,
    with_news,
)
from sundog.image.builder.jobs.screen import Screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn

    from sundog.front.cli.report import Report

_STDOUT, _STDERR = 1, 2
_PIECE = 1 << 16
_BUILT, _FAILED, _ENDED = "built", "failed, too", "not finished"


@dataclass(frozen=True, slots=True)
class Target:
    """A target: its name, the line that builds it, and the indices of those that it waits for."""

    name: str
    line: Sequence[str]
    waits_for: frozenset[int]


class _RunningTarget(RunningProcess):
    """The process of the target ``name``; ``pipes`` have its output, by stream."""

    def __init__(self, index: int, pid: int, name: str, pipes: Mapping[int, int]) -> None:
        super().__init__(index, pid, [*pipes.values()])
        self._pipes = pipes
        self.note_begin(f"target {name}")

    def received(self) -> list[tuple[int, bytes]]:
        """Return the output that is there, with its streams."""
        found = []
        for stream, pipe in self._pipes.items():
            with suppress(BlockingIOError):
                if piece := os.read(pipe, _PIECE):
                    found.append((stream, piece))
                    self.note_output(piece)
        return found


class TargetCrew:
    """The ``targets`` of one command, of which ``jobs`` run at a time at most.

    ``run`` builds one by its line, and returns the exit status.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        jobs: int,
        report: Report,
        run: Callable[[Sequence[str]], int],
    ) -> None:
        self._targets = targets
        self._jobs = jobs
        self._report = report
        self._run = run
        self._running: dict[int, _RunningTarget] = {}
        self._begun: set[int] = set()
        self._statuses: dict[int, int] = {}  # of those that have ended by themselves
        self._screen = Screen(report, {_STDOUT: _STDOUT, _STDERR: _STDERR})
        self._output = HeldOutput(range(len(targets)), self._screen.show)

    def build(self) -> int:
        """Build all targets; return the exit status of the first in the file that failed."""
        try:
            while not self._failed:
                self._begin(self._ready())
                if not self._running:
                    return 0
                self._listen(self._screen.period)
            end_all(lambda: [*self._running.values()], self._listen)
        except BaseException:
            end_at_once([*self._running.values()])
            raise
        finally:
            self._screen.clear()
        return self._show_failure(min(self._failed))

    @property
    def _failed(self) -> list[int]:
        return [index for index, status in self._statuses.items() if status]

    def _ready(self) -> list[int]:
        """Return the targets that can begin."""
        return [
            index
            for index, target in enumerate(self._targets)
            if index not in self._begun and target.waits_for <= self._statuses.keys()
        ]

    def _begin(self, ready: Sequence[int]) -> None:
        """Fork for targets as far as there are jobs, which all that run share."""
        count = min(self._jobs, len(self._running) + len(ready))
        for index in ready[: count - len(self._running)]:
            try:
                self._fork(index, self._jobs // count)
            except OSError as error:
                if error.errno not in NO_MORE or not self._running:
                    raise
                return  # the kernel may allow another process when one of these has ended

    def _fork(self, index: int, jobs: int) -> None:
        target = self._targets[index]
        streams = (_STDOUT,) if os.path.sameopenfile(_STDOUT, _STDERR) else (_STDOUT, _STDERR)
        pipes: dict[int, tuple[int, int]] = {}
        parent = os.getpid()
        try:
            for stream in streams:
                pipes[stream] = os.pipe()
            sys.stdout.flush()
            sys.stderr.flush()
            pid = fork()
        except OSError:
            for both in pipes.values():
                for end in both:
                    os.close(end)
            raise
        if not pid:
            ends = [pipes[stream][1] for stream in (streams[0], streams[-1])]
            self._be_target(parent, ends, [f"--jobs={jobs}", *target.line])
        for source, end in pipes.values():
            os.close(end)
            os.set_blocking(source, False)
        sources = {stream: source for stream, (source, _) in pipes.items()}
        self._begun.add(index)
        self._output.add(index, ("info", f"target: {target.name}"))
        self._running[index] = _RunningTarget(index, pid, target.name, sources)

    def _be_target(self, parent: int, ends: Sequence[int], line: Sequence[str]) -> NoReturn:
        """Be the process of a target; it dies with its parent."""
        status = EXIT_SUNDOG
        try:
            set_pdeathsig(signal.SIGKILL)
            if os.getppid() == parent:
                os.dup2(ends[0], _STDOUT)
                os.dup2(ends[1], _STDERR)
                for running in self._running.values():
                    running.close()
                status = self._run(line)
                sys.stdout.flush()
                sys.stderr.flush()
        except Exception as error:  # nobody else would print it
            self._report.trace(error)
        finally:
            os._exit(status if status >= 0 else EXIT_SUNDOG)

    def _listen(self, seconds: float) -> None:
        """Take output and ends of targets, or wait for some."""
        for running in with_news(self._running.values(), seconds):
            has_ended = running.has_ended(0)  # first: all of its output is there then
            while pieces := running.received():
                for stream, piece in pieces:
                    self._output.add(running.index, (OUTPUT, stream, piece))
                if not has_ended:
                    break
            if has_ended:
                self._retire(running)
        self._screen.tell_running(self._running.values())

    def _retire(self, running: _RunningTarget) -> None:
        index = running.index
        del self._running[index]
        status = running.reap()
        if not status:
            self._output.finish(index)
        if not (status and running.is_ended):
            self._statuses[index] = status

    def _show_failure(self, first: int) -> int:
        """Show what has waited of those up to the target that failed, and a line for the others."""
        for index in sorted(self._begun):
            if index > first:
                self._output.restart(index)
                status = self._statuses.get(index)
                fate = _ENDED if status is None else _FAILED if status else _BUILT
                self._screen.show(("info", f"target: {self._targets[index].name}: {fate}"))
        self._output.end(first)
        status = self._statuses[first]
        if status < 0:  # it has said nothing
            self._report.error(lost(f"a target has ended: {self._targets[first].name}", status))
        return EXIT_SUNDOG if status < 0 else status
