"""Build the stages of a Dockerfile side by side, each that has to be made in a process of its own.

One process walks the stages in order, and takes results from the cache.  At the first step of a
stage that has to be made, it forks if another stage does not need this one.  The child goes on with
the stage to its end, and sends back what has come of it.  Nothing is forked for what the cache has.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import replace

from sundog.base.kernel.process import fork
from sundog.base.wire.outcomes import NO_OUTCOME, unpack_outcome
from sundog.errors import SundogError
from sundog.image.builder.force import Force
from sundog.image.builder.jobs.crossing import pack, unpack
from sundog.image.builder.jobs.held_output import OUTPUT, HeldOutput
from sundog.image.builder.jobs.order import StageOrder
from sundog.image.builder.jobs.running_process import NO_MORE, end_all, end_at_once, with_news
from sundog.image.builder.jobs.running_stage import RunningStage
from sundog.image.builder.jobs.screen import Screen
from sundog.image.builder.jobs.stage_ends import StageEnds
from sundog.image.builder.jobs.stage_process import HANDED_OVER, StageProcess
from sundog.image.builder.retry import BuildAgain
from sundog.image.builder.stage import StageBuild
from sundog.image.builder.state import StageOutcome
from sundog.runtime.process.relay import write_output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sundog.image.builder.graph import Stage
    from sundog.image.builder.options import BuildOptions, Jobs
    from sundog.image.builder.report import Send
    from sundog.image.builder.state import BuildState, StageResult
    from sundog.image.store.store import Loose

_UNTRIED = 1 << 30  # more than the index of any stage


class _LeftAlone(BaseException):
    """This process does not go on with the stage that it was walking."""


class StageCrew:
    """The stages of one build: those that wait, those under way, those that have failed."""

    def __init__(self, state: BuildState, stages: Sequence[Stage], jobs: Jobs) -> None:
        self._main = state
        self._stages = {stage.index: stage for stage in stages}
        self._jobs = jobs
        self._order = StageOrder(stages)
        self._running: dict[int, RunningStage] = {}
        self._current = -1  # the stage that this process walks
        self._found: set[str] = set()  # the keys of its steps that the cache had
        self._branch = state
        self._switched = _UNTRIED  # the first stage that went on under ``notify``
        self._process: StageProcess | None = None  # of a child
        self._send: Send | None = None  # gets the output of RUN
        run = state.options.run
        self._targets = {1: run.stdout, 2: run.stderr}
        self._screen = Screen(jobs.report, self._targets)
        self._output = HeldOutput(tuple(self._stages), self._screen.show)
        self._ends = StageEnds(state, self._output, self._screen, keeps_going=jobs.keeps_going)
        if run.output is None:
            same = os.path.sameopenfile(run.stdout, run.stderr)
            run = replace(run, output=self._take_output, stdout=1, stderr=1 if same else 2)
        self._options = replace(state.options, run=run)

    def build(self) -> None:
        """Build all stages; raise the error of the first in the file that failed."""
        try:
            while not self._ends.is_over:
                index = self._next()
                if index is not None:
                    self._walk(self._stages[index])
                elif self._running:
                    self._listen(None)
                else:
                    break
            self._end(self._running)
            self._screen.clear()
        except BaseException:
            self._end_at_once()
            raise
        if self._ends.failed:
            raise self._ends.shown_failure()

    # What a stage that this process walks calls; in a child, its StageProcess answers.

    def found(self, key: str) -> None:
        """See ``state.Crew``."""
        self._found.add(key)

    def missed(self, key: str, *, waits: bool) -> None:
        """See ``state.Crew``."""
        if self._jobs.count == 1:
            return
        self._listen(0)
        self._check()
        running = self._running.values()
        if waits and self._order.postpone(self._current, key, self._found, running):
            raise _LeftAlone
        while self._order.leaves_others(self._current, self._main.results, self._ends.failed):
            if self._in_use() < self._jobs.count:
                self._try_to_fork(key)
                if self._process is not None:  # this is the child
                    return
                if not self._running:  # the kernel will not allow more later
                    break
            self._listen(None)
            self._check()
        self._screen.clear()
        if self._send is not None and self._output.is_first(self._current):
            self._divert(None)

    def late(self, index: int) -> StageResult | None:
        """See ``state.Crew``."""
        if index in self._stages or self._order.is_taken(index, self._running):
            self._order.need(self._current, index)
            raise _LeftAlone
        self._order.take(index, self._current)
        return None

    def switched(self) -> None:
        """See ``state.Crew``."""
        self._switch(self._current)

    # The walk.

    def _next(self) -> int | None:
        """Return the first stage that can begin."""
        begun = {*self._running, *self._ends.failed}
        return self._order.next(self._main.results, begun, self._running)

    def _walk(self, stage: Stage) -> None:
        """Build a stage, until it is done or another process goes on with it."""
        index = self._current = stage.index
        self._found.clear()
        self._branch = branch = self._main.branch(self._options_of(index), self)
        known = frozenset(branch.results)
        if not self._output.is_first(index) and self._jobs.report.is_ordered:
            self._divert(lambda message: self._output.add(index, message))
        try:
            branch.results[index] = StageBuild(branch, stage).run()
        except _LeftAlone:
            if index not in self._running:
                self._output.restart(index)
        except BaseException as error:
            if self._process is not None:
                self._process.end(branch, error)
            if isinstance(error, BuildAgain):
                self._output.end(index)
            if not isinstance(error, SundogError):
                raise
            self._ends.fail(index, error, branch.outcome(known))
        else:
            if self._process is not None:
                self._process.end(branch, None)
            self._ends.accept(index, branch.outcome(known))
        finally:
            self._divert(None)

    def _options_of(self, index: int) -> BuildOptions:
        if index <= self._switched:
            return self._options
        run = replace(self._options.run, force=Force.choose("notify"))
        return replace(self._options, run=run)

    def _check(self) -> None:
        """Leave the present stage alone if the build is over, or if the stage has to begin again.

        A stage after the one that switched to ``notify`` has ``notify`` from its beginning.
        """
        is_outdated = self._current > self._switched and self._branch.options.run.force.seccomp
        if self._ends.is_over or is_outdated:
            raise _LeftAlone

    def _switch(self, index: int) -> None:
        """Let all stages after this one begin again, under ``notify``, as if it came first."""
        if index >= self._switched:
            return
        self._switched = index
        later = [each for each in self._stages if each > index]
        self._end([each for each in later if each in self._running])
        self._ends.withdraw(later)
        self._output.restart(*later)

    def _try_to_fork(self, key: str) -> None:
        """Let a child go on with the present stage, and raise _LeftAlone in this process.

        If the kernel allows no further process for now, return in this one.
        """
        ours, theirs = socket.socketpair()
        parent, known = os.getpid(), frozenset(self._main.results)
        try:
            pid = fork()
        except OSError as error:
            ours.close()
            theirs.close()
            if error.errno not in NO_MORE:
                raise
            return
        if pid:
            theirs.close()
            self._running[self._current] = RunningStage(
                self._current, pid, ours.detach(), key, self._branch.announced
            )
            raise _LeftAlone
        try:
            ours.close()
            self._process = StageProcess(theirs, parent, known)
            for running in self._running.values():
                running.close()
            self._running.clear()
            self._process.settle(self._branch)
            self._divert(self._process.report)
        except BaseException:
            os._exit(1)

    # Messages.

    def _divert(self, send: Send | None) -> None:
        self._send = send
        self._jobs.report.divert(send)

    def _take_output(self, stream: int, piece: bytes) -> None:
        """Take output of a RUN; what is shown only on failure stays in this process."""
        target = self._targets[stream]
        if self._send is None or target == self._options.run.captured:
            write_output(target, piece)
        else:
            self._send((OUTPUT, stream, piece))

    def _listen(self, seconds: float | None) -> None:
        """Handle what processes of stages have sent, or wait for it."""
        self._answer()
        wait = self._screen.period if seconds is None else seconds
        for running in with_news(self._running.values(), wait):
            if running.index in self._running:
                self._handle(running)
        self._screen.tell_running(self._running.values())

    def _in_use(self) -> int:
        return sum(running.needed < 0 for running in self._running.values())

    def _answer(self) -> None:
        """Give stages what they wait for, if it is there, and if there is a job for them."""
        for running in self._running.values():
            index = running.needed
            if index < 0 or self._in_use() >= self._jobs.count:
                continue
            if index in self._main.results:
                running.answer(pack(self._main.results[index]))
            elif not (index in self._stages or self._order.is_taken(index, self._running)):
                self._order.take(index, running.index)
                running.answer(pack(None))

    def _handle(self, running: RunningStage) -> None:
        data = running.received()
        if data is None:
            del self._running[running.index]
            self._ends.lose(running)
            return
        index = running.index
        match unpack(data):
            case ("report", tuple(message)):
                running.note(message)
                if self._jobs.report.is_ordered:
                    self._output.add(index, message)
                else:
                    self._screen.show(message)
            case ("step", str(key)):
                running.move_on(key)
            case ("switched",):
                self._switch(index)
            case ("need", int(needed)):
                running.wait_for(needed)
            case ("done", StageOutcome() as outcome, (list(own), list(others)), facts):
                self._retire(running, (own, others), facts)
                self._ends.accept(index, outcome)
            case (
                "failed",
                bytes(error),
                StageOutcome() as outcome,
                (list(own), list(others)),
                facts,
            ):
                self._retire(running, (own, others), facts)
                try:
                    unpack_outcome(error)
                except SundogError as failure:
                    self._ends.fail(index, failure, outcome)
            case ("again", list(marks), (list(own), list(others))):
                self._retire(running, (own, others), None)
                self._output.end(index)
                raise BuildAgain(*marks)
            case ("broken", facts, (list(own), list(others))):
                self._retire(running, (own, others), facts)
                assert self._main.shared is not None
                self._main.shared.fail()
            case _:
                raise ValueError(NO_OUTCOME)

    # The end of a stage.

    def _retire(self, running: RunningStage, loose: Loose, facts: object) -> None:
        """Take over what the process of a stage hands over, and see it end."""
        del self._running[running.index]
        running.reap()
        self._ends.take_over(loose, facts)

    def _end(self, stages: Iterable[int]) -> None:
        """End the processes of stages, and take over what those have that end by themselves."""
        ended = {*stages}

        def listen(seconds: float) -> None:
            with suppress(BuildAgain):
                self._listen(seconds)

        end_all(lambda: [each for each in self._running.values() if each.index in ended], listen)

    def _end_at_once(self) -> None:
        """End all processes of stages, whatever they have sent."""
        ended = [*self._running.values()]
        self._running.clear()
        for status in end_at_once(ended):
            if status == HANDED_OVER:
                self._main.store.expect_garbage()
            elif status:
                self._main.store.collect_leftovers()
