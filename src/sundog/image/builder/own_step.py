"""Instructions that make their steps themselves, and the parts that they make them from."""

from __future__ import annotations

from dataclasses import dataclass

from sundog.image.builder.own_instruction import OwnInstruction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.image.builder.files.add import Files
    from sundog.image.builder.state import BuildState
    from sundog.image.builder.tree_step import TreeStep
    from sundog.image.oci.config import ImageConfig


@dataclass(frozen=True, slots=True)
class StepMaker:
    """The parts that a step is made from: ``files_of`` resolves the name of a stage."""

    state: BuildState
    config: ImageConfig
    files_of: Callable[[str], Files]


class OwnStep(OwnInstruction):
    """An instruction that makes its step itself."""

    __slots__ = ()

    def step(self, maker: StepMaker) -> TreeStep:
        """Return its step; raise SundogError."""
        raise NotImplementedError
