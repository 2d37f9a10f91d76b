"""The steps of one stage: take each one's result from a cache, or make and remember it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace

from sundog.errors import CommandFailed, SundogError
from sundog.image.builder.explanation import StageRecord, StepRecord
from sundog.image.builder.failure import explained, is_fault
from sundog.image.builder.graph import named_sources
from sundog.image.builder.growing_environment import GrowingEnvironment
from sundog.image.builder.keys import cache_key
from sundog.image.builder.options import CACHE_DISABLED
from sundog.image.builder.platforms import platform_of
from sundog.image.builder.report import HIT, MISS
from sundog.image.builder.retry import (
    COMMENT,
    Mark,
    again_for_files,
    recall,
    recall_shared,
    try_again,
)
from sundog.image.dockerfile.instructions import Run
from sundog.image.oci.config import HistoryEntry, ImageConfig
from sundog.image.oci.timestamps import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sundog.image.builder.graph import Stage
    from sundog.image.builder.keys import StepKey
    from sundog.image.builder.retry import RunAgain
    from sundog.image.builder.state import BuildState
    from sundog.image.builder.tree_step import TreeStep
    from sundog.image.dockerfile.instructions import Instruction
    from sundog.image.store.cache import CacheHit


class StageSteps:
    """A stage as it has become so far, and the way in which a further instruction changes it.

    ``layers`` is None if a dry run does not know them.  ``fetches`` tells that the files of other
    images have to be here.  ``past`` is what the next build may compare with.
    """

    def __init__(self, state: BuildState, stage: Stage) -> None:
        self._state = state
        self._stage = stage
        self._store = state.store
        self._environment = GrowingEnvironment()
        self._is_unknown = False
        self._is_explained = not state.options.explains
        self.past = StageRecord(stage.start.alias or str(stage.index))
        self.layers: tuple[str, ...] | None = ()
        self.config = ImageConfig()
        self.fetches = False

    @property
    def variables(self) -> Mapping[str, str]:
        """The variables of the image so far."""
        return self._environment.variables(self.config.env)

    def start_from(self, layers: tuple[str, ...] | None, config: ImageConfig) -> None:
        """Continue an image."""
        self.layers, self.config = layers, config

    def note_base(self, text: str, image: str) -> None:
        """Note for the next build that the image is now what FROM, ``text``, gives."""
        platform, name = str(platform_of(self.config)), self.past.name
        self.past = StageRecord(name, text, image, platform, self.layers or ())

    def configure(self, config: ImageConfig) -> None:
        """Give the image another configuration."""
        self.config = config

    def forget_layers(self) -> None:
        """Take note that a dry run does not know the layers from here on."""
        self.layers = None

    def fetch_layers(self) -> None:
        """Fetch the layers that shared caches promised, as what comes next needs their files."""
        if self.layers is not None:
            self.layers = self._state.here(self.layers)

    def remember_no_more(self) -> None:
        """Remember nothing from here on: an instruction has effects that no key has."""
        self._is_unknown = True

    def change(self, instruction: Instruction, text: str, config: ImageConfig) -> None:
        """Apply a change of the configuration alone.

        The cache has it only to tell the user whether it is new.
        """
        status = MISS
        if self.layers is not None:
            content = _content(config), self._environment.digest(config.env)
            key = cache_key("config", self.layers, *content, text)
            if self._remembered(key) is not None:
                status = HIT
            else:
                self._remember(key, None)
        self._state.announce(instruction, status, text)
        self.config = config
        self._record(text, None)

    def made(self, instruction: Instruction, step: TreeStep) -> None:
        """Find the result of a step that is ready, or make it; raise as ``take``."""
        self.take(instruction, lambda: (step, ""))

    def take(
        self,
        instruction: Instruction,
        make: Callable[[], tuple[TreeStep, str]],
        again: RunAgain | None = None,
    ) -> None:
        """Find the result of an instruction that changes files, or make it.

        ``make`` returns the step, and a notice of the change that hooks made; it is printed if the
        instruction runs.  ``again`` says why a RUN begins again.  Raises RunAgain and BuildAgain.
        """
        step, notice = make()
        if self.layers is None:
            self._state.announce(instruction, MISS, step.text)
            return
        key = self._key(instruction, step)
        is_announced = again is not None and again.is_announced
        comment = "" if again is None else COMMENT
        mark = Mark.of(key)
        hit = self._found(instruction, mark, is_announced=is_announced)
        if hit is not None and self._state.crew is not None:
            self._state.crew.found(key.local)
        portable = self._portable(key, is_here=hit is not None)
        if hit is None and portable and self._looks_up:
            hit = self._shared(instruction, key, portable, is_announced=is_announced)
        if not is_announced:
            self._state.announce(instruction, HIT if hit is not None else MISS, step.text)
        record = StepRecord.of(instruction.line, step.text, key)
        if hit is None:
            self._explain(record, step)
        if hit is None and self._state.options.dry_run:
            self._note_start(instruction, notice)
            self.layers = None
            return
        if hit is None:
            layer = self._carried_out(instruction, make, (step, notice, key), portable)
        else:
            layer = hit.layer
        self._share(portable, step, layer)
        tried = "" if again is None else again.mark.template
        self.past.steps.append(replace(record, layer=layer or "", tried=tried))
        self._record(step.text, layer, comment)

    def _explain(self, record: StepRecord, step: TreeStep) -> None:
        """Say why the first result of the stage that is not in the cache is not there."""
        if not self._is_explained:
            self._is_explained = True
            reason = "nothing is looked up, as the command line says"
            if self._looks_up:
                reason = self._state.last.reason(
                    self.past, record, is_independent=step.is_independent
                )
            self._state.report.info(f"     {reason}")

    def _carried_out(
        self,
        instruction: Instruction,
        make: Callable[[], tuple[TreeStep, str]],
        made: tuple[TreeStep, str, StepKey],
        portable: str,
    ) -> str | None:
        """Carry out a step that was not found; return its layer, None if it changed nothing.

        ``made`` is what ``make`` has returned, with the key.
        """
        step, notice, key = made
        if self._state.crew is not None:
            self._state.crew.missed(key.local, waits=self._is_cached)
        if self._state.shared is not None and self._state.shared.has_promised(key):
            step, notice = self._fetched(make, step)
            key = self._key(instruction, step)
        mark = Mark.of(key, portable)
        with ExitStack() as stack:
            if self._is_cached:
                stack.enter_context(self._store.turn(mark.key).held(self._tell_waiting))
                hit = self._found(instruction, mark, is_announced=True)
                if hit is not None:  # another build was faster
                    return hit.layer
            self._note_start(instruction, notice)
            try:
                layer = self._make(step, key.layers)
            except SundogError as error:
                if isinstance(error, CommandFailed):
                    try_again(self._state, instruction, mark, error)
                raise self._failure(instruction, error) from error
            self._remember(mark.key, layer)
        if self._state.shared is not None:
            self._state.shared.made(layer)
        return layer

    def _key(self, instruction: Instruction, step: TreeStep) -> StepKey:
        try:
            return step.key(() if step.is_independent else self.layers or ())
        except SundogError as error:
            self._state.announce(instruction, MISS, step.text)
            raise self._failure(instruction, error) from error

    def _fetched(
        self, make: Callable[[], tuple[TreeStep, str]], step: TreeStep
    ) -> tuple[TreeStep, str]:
        """Return the step again, with all layers here that it needs; raise PromiseBroken."""
        if not step.is_independent:
            self.fetch_layers()
        self.fetches = True
        try:
            return make()
        finally:
            self.fetches = False

    def _portable(self, key: StepKey, *, is_here: bool) -> str:
        """Return the portable digest of a key; "" where no shared cache gets to know it."""
        shared = self._state.shared
        if self._is_unknown or shared is None or (is_here and not shared.has_destinations):
            return ""
        return shared.key_of(key, self.config)

    def _shared(
        self, instruction: Instruction, key: StepKey, portable: str, *, is_announced: bool
    ) -> CacheHit | None:
        """Return the result in a shared cache; raise as ``_found``."""
        shared = self._state.shared
        assert shared is not None
        hit = shared.find(key, portable, self.layers or ())
        if hit is None and isinstance(instruction, Run):
            recall_shared(self._state, instruction, key, portable, is_announced=is_announced)
        return hit

    def _share(self, portable: str, step: TreeStep, layer: str | None) -> None:
        """Give the result of a step to the shared caches."""
        if portable and self._state.shared is not None and not self._state.options.dry_run:
            self._state.shared.write(
                portable,
                step.text,
                layer,
                self.layers or (),
                self.config,
                replaces=not self._looks_up,
            )

    def _note_start(self, instruction: Instruction, notice: str) -> None:
        self._state.ran += isinstance(instruction, Run)
        if notice:
            self._state.announce_change(notice)

    def _tell_waiting(self) -> None:
        self._state.report.info("waiting for another build that runs the same step")

    def _make(self, step: TreeStep, below: tuple[str, ...]) -> str | None:
        """Carry out an instruction; return its layer, None if it changed nothing."""
        real_sync = self._state.options.real_sync
        with self._store.driver.begin(below, real_sync=real_sync, bare=step.is_bare) as snapshot:
            # The output of a command would meet the display.
            with ExitStack() as stack:
                if step.is_bare:
                    word = step.text.partition(" ")[0]
                    stack.enter_context(self._state.report.watched(f"     {word}"))
                step.execute(snapshot)
            return None if step.is_discarded else snapshot.commit(step.text)

    def _failure(self, instruction: Instruction, error: SundogError) -> SundogError:
        """Return the error to raise for an instruction that failed with ``error``.

        Raises BuildAgain.
        """
        if not is_fault(error) or self.layers is None:
            return error
        layers = self._state.here(self.layers)
        dockerfile, resolve = self._state.dockerfile, self._stage.names.resolve
        names = named_sources(dockerfile, instruction)
        if any(isinstance(resolve(dockerfile, instruction, name), int) for name in names):
            again_for_files(self._state, instruction, error)
        self._state.break_off(layers, self.config)
        return explained(self._state, instruction, error)

    def _found(
        self, instruction: Instruction, mark: Mark, *, is_announced: bool
    ) -> CacheHit | None:
        """Return the result under a key; raise RunAgain or BuildAgain if there is none for that."""
        hit = self._remembered(mark.key)
        if hit is None and isinstance(instruction, Run):
            recall(self._state, instruction, mark, is_announced=is_announced)
        return hit

    @property
    def _is_cached(self) -> bool:
        return self._state.looks_up and self._stage.index not in self._state.uncached

    @property
    def _looks_up(self) -> bool:
        return self._is_cached and not self._is_unknown

    def _remembered(self, key: str) -> CacheHit | None:
        if not self._looks_up:
            return None
        return self._store.cache.get(key)

    def _remember(self, key: str, layer: str | None) -> None:
        if self._is_unknown or self._state.options.dry_run:
            return
        if self._state.options.cache_mode != CACHE_DISABLED:
            self._store.cache.put(key, layer, self.layers or ())

    def _record(self, text: str, layer: str | None, comment: str = "") -> None:
        """Add an instruction's result to the image."""
        created = timestamp(self._state.options.epoch)
        entry = HistoryEntry(created, text, empty_layer=layer is None, comment=comment)
        self.config = self.config.replace(history=(*self.config.history, entry))
        if layer is not None and self.layers is not None:
            self.layers = (*self.layers, layer)
            self.config = self.config.replace(diff_ids=(*self.config.diff_ids, ""))


def _content(config: ImageConfig) -> str:
    """Return a configuration's content without its history and its variables."""
    content = config.replace(created="", history=(), diff_ids=(), env=())
    return json.dumps(content.to_json(), sort_keys=True)
