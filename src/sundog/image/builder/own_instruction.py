"""Instructions of other languages than that of Dockerfiles."""

from __future__ import annotations

from sundog.image.dockerfile.instructions import Instruction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.oci.config import ImageConfig


class OwnInstruction(Instruction):
    """An instruction of another language; see ``own_step`` for what it does."""

    __slots__ = ()

    @property
    def has_unknown_effects(self) -> bool:
        """Tell whether nobody knows what it changes: then no result after it is remembered."""
        return False

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the stages that it reads."""
        return ()

    def configured(self, config: ImageConfig) -> ImageConfig:
        """Return the configuration of the image after it."""
        return config
