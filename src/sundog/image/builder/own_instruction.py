"""Instructions of other languages than that of Dockerfiles, which make their own steps."""

from __future__ import annotations

from dataclasses import dataclass

from sundog.image.dockerfile.instructions import Instruction

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


class OwnInstruction(Instruction):
    """An instruction that makes its step itself."""

    __slots__ = ()

    @property
    def has_unknown_effects(self) -> bool:
        """Tell whether nobody knows what it changes: then no result after it is remembered."""
        return False

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the stages that it reads."""
        return ()

    def step(self, maker: StepMaker) -> TreeStep:
        """Return its step; raise SundogError."""
        raise NotImplementedError

    def configured(self, config: ImageConfig) -> ImageConfig:
        """Return the configuration of the image after it."""
        return config
