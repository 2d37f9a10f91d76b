"""The order in which stages can be built: what each needs, and what it waits for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from sundog.image.builder.graph import Stage
    from sundog.image.builder.jobs.running_stage import RunningStage


class StageOrder:
    """The needs of the ``stages`` of a build; a build may learn more of them."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._needs = {stage.index: stage.needs() for stage in stages}
        self._postponed: dict[int, tuple[int, str]] = {}
        self._taken: dict[int, int] = {}

    def need(self, stage: int, other: int) -> None:
        """Take note that a stage needs another one, as a trigger of its base says."""
        self._needs[stage].add(other)

    def take(self, late: int, stage: int) -> None:
        """Take note that the process of ``stage`` builds a stage that only a trigger needs."""
        self._taken[late] = stage

    def is_taken(self, late: int, running: Container[int]) -> bool:
        """Tell whether the process of a running stage builds such a stage."""
        return self._taken.get(late) in running

    def next(
        self,
        results: Mapping[int, object],
        begun: Container[int],
        running: Mapping[int, RunningStage],
    ) -> int | None:
        """Return the first stage that has not begun and can begin."""
        for index, needs in self._needs.items():
            if index in results or index in begun or not needs <= results.keys():
                continue
            other, key = self._postponed.get(index, (-1, ""))
            if other in running and running[other].key == key:
                continue
            return index
        return None

    def leaves_others(self, stage: int, results: Container[int], failures: Container[int]) -> bool:
        """Tell whether a stage that is not finished can be built while this one is."""
        for other in self._needs:
            if other != stage and other not in results:
                needs = self._closure(other)
                if stage not in needs and not any(need in failures for need in needs):
                    return True
        return False

    def postpone(
        self, stage: int, key: str, found: Container[str], running: Iterable[RunningStage]
    ) -> bool:
        """Tell whether a stage has to wait until another one has made the step ``key``.

        It has, too, if the other one has just made a step that this one has ``found``: perhaps the
        next one is the same as well.  An earlier stage waits for no later one.
        """
        for other in running:
            if other.index < stage and (other.key == key or other.key in found):
                self._postponed[stage] = (other.index, other.key)
                return True
        return False

    def _closure(self, stage: int) -> set[int]:
        """Return a stage with all that it needs."""
        found, left = set(), [stage]
        while left:
            index = left.pop()
            if index not in found:
                found.add(index)
                left += self._needs.get(index, ())
        return found
