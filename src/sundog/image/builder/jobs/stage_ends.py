"""The ends of stages: results, which the build takes over, and failures, of which one is shown."""

from __future__ import annotations

from operator import itemgetter

from sundog.image.builder.jobs.running_process import lost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sundog.errors import SundogError
    from sundog.image.builder.jobs.held_output import HeldOutput
    from sundog.image.builder.jobs.running_stage import RunningStage
    from sundog.image.builder.jobs.screen import Screen
    from sundog.image.builder.state import BuildState, StageOutcome
    from sundog.image.store.store import Loose


class StageEnds:
    """The stages of the build ``state`` that have ended.

    If the build ``keeps_going``, the output of those that failed is shown in its turn.
    """

    def __init__(
        self, state: BuildState, output: HeldOutput, screen: Screen, *, keeps_going: bool
    ) -> None:
        self._state = state
        self._output = output
        self._screen = screen
        self._keeps_going = keeps_going
        self._outcomes: dict[int, StageOutcome] = {}
        self._failures: dict[int, tuple[SundogError, StageOutcome | None]] = {}

    @property
    def failed(self) -> set[int]:
        """The stages that have failed."""
        return {*self._failures}

    @property
    def is_over(self) -> bool:
        """Tell whether no further stage is to begin."""
        return bool(self._failures) and not self._keeps_going

    def accept(self, index: int, outcome: StageOutcome) -> None:
        """Take note that a stage is done."""
        self._state.absorb(outcome)
        self._outcomes[index] = outcome
        self._output.finish(index)

    def fail(self, index: int, error: SundogError, outcome: StageOutcome | None = None) -> None:
        """Take note that a stage has failed."""
        self._failures[index] = error, outcome
        if self._keeps_going:
            self._output.finish(index)

    def withdraw(self, stages: Iterable[int]) -> None:
        """Forget what has come of stages that begin again."""
        for index in stages:
            self._state.results.pop(index, None)
            if index in self._outcomes:
                self._state.forget(self._outcomes.pop(index))
            self._failures.pop(index, None)

    def take_over(self, loose: Loose, facts: object) -> None:
        """Take over what the process of a stage hands over."""
        self._state.store.take_over(loose)
        if self._state.shared is not None and facts is not None:
            self._state.shared.learn(facts)

    def lose(self, running: RunningStage) -> None:
        """Take note that the process of a stage has ended without an outcome."""
        status = running.reap()
        if status:
            self._state.store.collect_leftovers()
        if not running.is_ended:
            self.fail(running.index, lost(f"a stage has ended: {running}", status))

    def shown_failure(self) -> SundogError:
        """Show what has waited; return the error of the first stage that failed."""
        first = min(self._failures)
        self._output.end(first)
        for index, (error, _) in sorted(self._failures.items(), key=itemgetter(0)):
            if index != first:
                self._screen.show(("info", f"failed, too: {error.message}"))
        error, outcome = self._failures[first]
        if outcome is not None:
            self._state.inherit_remains(outcome)
        return error
