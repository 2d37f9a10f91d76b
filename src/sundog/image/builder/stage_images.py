"""The images and contexts that a stage starts from, and those that its instructions name."""

from __future__ import annotations

from contextlib import contextmanager

from sundog.errors import SundogError
from sundog.image.builder.bases import SCRATCH, Bases
from sundog.image.builder.failure import is_fault, located
from sundog.image.builder.files.context import BuildContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sundog.image.builder.bases import ImageName
    from sundog.image.builder.graph import Stage
    from sundog.image.builder.state import BuildState, StageResult
    from sundog.image.dockerfile.instructions import Instruction
    from sundog.image.oci.config import ImageConfig
    from sundog.image.oci.platform import Platform

    # The layers of an image, and its configuration.
    Known = tuple[tuple[str, ...], ImageConfig]


class StageImages:
    """The images and contexts that names in a stage stand for.

    ``result_of`` returns the result of another stage.
    """

    def __init__(
        self, state: BuildState, stage: Stage, result_of: Callable[[int], StageResult]
    ) -> None:
        self._state = state
        self._stage = stage
        self._result_of = result_of
        self._bases = Bases(
            state.store,
            state.options.pull,
            state.options.dry_run,
            refreshes=state.options.refreshes_bases,
            share=state.options.share,
        )

    def find(self, name: ImageName, platform: Platform | None) -> Known | None:
        """Return an image that is here."""
        image = self._bases.find(name, platform)
        return None if image is None else (image.layers, image.config)

    def fetch(self, name: ImageName, platform: Platform | None) -> Known | None:
        """Return an image that is not here; None in a dry run.

        With shared caches, its layers are only promised: perhaps nobody needs their files.  With
        ``refreshes_bases``, one process fetches all images, each once.
        """
        shared, look_up = self._state.shared, self._state.options.look_up
        if shared is not None and self._state.looks_up:
            promised = shared.promised(self._bases, name, platform, look_up)
            if promised is not None:
                return promised
        if self._state.crew is not None and not self._state.options.refreshes_bases:
            self._state.crew.missed(f"image {name} {platform}", waits=True)
        image = self._bases.fetch(name, platform)
        return None if image is None else (image.layers, image.config)

    def named(self, instruction: Instruction, name: str) -> BuildContext | tuple[str, ...] | None:
        """Return what ``from`` in an instruction names: a context, or an image's layers.

        None if a dry run does not know those layers.
        """
        base = self._stage.names.resolve(self._state.dockerfile, instruction, name)
        if isinstance(base, BuildContext):
            return base
        with self.showing(instruction, name):
            return self._layers_of(base)

    @contextmanager
    def showing(self, instruction: Instruction, near: str) -> Iterator[None]:
        """Show the place in the Dockerfile of an image that can't be had."""
        try:
            yield
        except SundogError as error:
            if self._state.options.is_modification or not is_fault(error):
                raise
            if close := self._stage.names.near(near):
                error.hint = f"{close} {error.hint}".rstrip()
            raise located(self._state, instruction, error, near=near) from error

    def _layers_of(self, base: int | ImageName) -> tuple[str, ...] | None:
        if isinstance(base, int):
            return self._result_of(base).layers
        if base == SCRATCH:
            return ()
        platform = self._state.options.platform
        known = self.find(base, platform)
        if known is None:
            if isinstance(base, str) and (close := self._stage.names.near(base)):
                self._state.report.info(f"neither a stage nor in storage: {base}: {close}")
            known = self.fetch(base, platform)
        return None if known is None else known[0]
