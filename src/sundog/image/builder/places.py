"""The place of each instruction among those of its stage, as reports show it."""

from __future__ import annotations

from dataclasses import dataclass

from sundog.image.builder.report import Announcement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.image.builder.graph import Stage


@dataclass(frozen=True, slots=True)
class _Place:
    stage: int
    text: str
    needs: tuple[int, ...]


class Places:
    """The places of the instructions of some stages, by their lines in the Dockerfile.

    The triggers of a base image have the place of their FROM.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._places: Mapping[int, _Place] = {
            instruction.line: _Place(
                stage.index,
                f"{_name(stage, stages)}{number}/{1 + len(stage.instructions)}",
                () if number > 1 else tuple(sorted(stage.needs())),
            )
            for stage in stages
            for number, instruction in enumerate((stage.start, *stage.instructions), 1)
        }

    def announce(self, line: int, status: str, text: str) -> Announcement:
        """Return the announcement of the instruction in ``line``."""
        place = self._places.get(line)
        if place is None:  # it is before the first FROM
            return Announcement(line, status, text)
        return Announcement(line, status, text, place.stage, place.text, place.needs)


def _name(stage: Stage, stages: Sequence[Stage]) -> str:
    if stage.start.alias:
        return f"{stage.start.alias} "
    return "" if len(stages) == 1 else f"stage-{stage.index} "
