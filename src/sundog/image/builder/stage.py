"""One stage of a build: take each instruction's result from the cache, or make and remember it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace

from sundog.errors import BuildError, CommandFailed, DockerfileError, SundogError
from sundog.image.builder.bases import SCRATCH, scratch_config
from sundog.image.builder.explanation import StageRecord, StepRecord
from sundog.image.builder.failure import explained, is_fault
from sundog.image.builder.files.add import FilesStepMaker
from sundog.image.builder.files.context import BuildContext
from sundog.image.builder.files.rsync_instruction import rsync_step
from sundog.image.builder.graph import named_sources
from sundog.image.builder.growing_environment import GrowingEnvironment
from sundog.image.builder.keys import cache_key
from sundog.image.builder.metadata import changes, from_text, pair_text
from sundog.image.builder.options import CACHE_DISABLED
from sundog.image.builder.own_step import OwnStep, StepMaker
from sundog.image.builder.platforms import check_platform, wanted_platform
from sundog.image.builder.report import HIT, MISS, ends_reported
from sundog.image.builder.retry import (
    COMMENT,
    BuildAgain,
    Mark,
    RunAgain,
    again_for_files,
    recall,
    recall_shared,
    remember_run,
    try_again,
)
from sundog.image.builder.run.run_instruction import RunStepMaker, new_command
from sundog.image.builder.scope import PROXY_ARGS, StageScope
from sundog.image.builder.shell_form import warn_of_shell_form
from sundog.image.builder.stage_images import StageImages
from sundog.image.builder.state import StageResult
from sundog.image.builder.tree_step import absolute
from sundog.image.builder.user import emulated_user
from sundog.image.builder.volume import VolumeStep
from sundog.image.builder.workdir import WorkdirStep
from sundog.image.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Rsync,
    Run,
    Volume,
    Workdir,
)
from sundog.image.dockerfile.triggers import parse_triggers
from sundog.image.oci.config import HistoryEntry, ImageConfig
from sundog.image.oci.platform import Platform
from sundog.image.oci.timestamps import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.image.builder.files.add import Files
    from sundog.image.builder.graph import Stage
    from sundog.image.builder.keys import StepKey
    from sundog.image.builder.run.fakeroot import Fakeroot
    from sundog.image.builder.run.step import RunStep
    from sundog.image.builder.state import BuildState
    from sundog.image.builder.tree_step import TreeStep
    from sundog.image.dockerfile.instructions import Instruction
    from sundog.image.store.cache import CacheHit


def stage_result(state: BuildState, index: int) -> StageResult:
    """Return the result of a stage; build it first if need be.

    A build learns what an ONBUILD trigger needs only when its stage begins.
    """
    if index not in state.results:
        state.results[index] = StageBuild(state, state.graph.stages[index]).run()
    return state.results[index]


class StageBuild:
    """A stage during its build."""

    def __init__(self, state: BuildState, stage: Stage) -> None:
        self._state = state
        self._stage = stage
        self._store = state.store
        self._images = StageImages(state, stage, lambda index: stage_result(state, index))
        self._scope = StageScope(state.scope)
        self._layers: tuple[str, ...] | None = ()
        self._config = ImageConfig()
        self._environment = GrowingEnvironment()
        self._has_own_cmd = False
        self._is_unknown = False  # nothing after this is remembered
        self._fetches = False  # the files of other images have to be here
        self._past = StageRecord(stage.start.alias or str(stage.index))
        self._is_explained = not state.options.explains
        self._fakeroot: Fakeroot | None = None
        if state.options.run.force.fakeroot:
            from sundog.image.builder.run.fakeroot import Fakeroot

            self._fakeroot = Fakeroot(
                state.report, lambda argv: state.announce_change(new_command(argv))
            )

    def run(self) -> StageResult:
        """Carry out the stage's instructions."""
        report = self._state.report
        count = len(self._state.graph.stages)
        if count > 1:
            alias = f": {self._stage.start.alias}" if self._stage.start.alias else ""
            report.note(f"stage {self._stage.index + 1}/{count}{alias}")
        with ends_reported(report, self._stage.start.name):
            self._from()
        for name, default in self._stage.start.variables:
            self._scope.declare(name, default)
        for instruction in (*self._triggers(), *self._stage.instructions):
            with ends_reported(report, instruction.name):
                self._instruction(instruction)
        return StageResult(self._layers, self._config, self._scope.args, self._past)

    def _from(self) -> None:
        base, start = self._stage.base, self._stage.start
        options = self._state.options
        platform = wanted_platform(self._state.dockerfile, start) or options.platform
        status = HIT
        if isinstance(base, int):
            result = stage_result(self._state, base)
            self._layers, self._config = result.layers, result.config
            self._scope.args.update(result.args)
        elif isinstance(base, BuildContext):
            raise self._state.dockerfile.error(
                start,
                f"FROM needs an image, and the context {start.image_text} is not one",
                near=start.image_text,
                hint="make an image of it with ch-image import; or use COPY --from",
            )
        elif base == SCRATCH:
            self._config = scratch_config(platform or Platform.of_host())
        else:
            if isinstance(base, str):
                self._state.bases.append(base)
            with self._images.showing(start, start.image_text):
                known = self._images.find(base, platform)
            if known is None:
                status = MISS
            else:
                self._layers, self._config = known
        self._state.announce(start, status, from_text(start))
        if status == MISS:
            assert not isinstance(base, int | BuildContext)
            with self._images.showing(start, start.image_text):
                known = self._images.fetch(base, platform)
            if known is None:  # then a dry run knows nothing of it
                self._layers = None
            else:
                self._layers, self._config = known
        if platform is not None:
            check_platform(self._state.dockerfile, start, self._config, platform)
        self._past.base, self._past.layers = from_text(start), self._layers or ()

    def _triggers(self) -> tuple[Instruction, ...]:
        """Remove the base's ONBUILD triggers from the configuration and return them."""
        if self._state.options.is_modification or self._state.options.ignores_triggers:
            return ()
        texts = self._config.on_build
        self._config = self._config.replace(on_build=())
        start = self._stage.start
        if texts:
            self._state.report.info(f"ONBUILD: {start.image_text} triggers {len(texts)}")
        triggers = parse_triggers(self._state.dockerfile, start, texts)
        warn_of_shell_form(self._state.dockerfile, triggers, self._state.report)
        return triggers

    def _instruction(self, written: Instruction) -> None:
        variables = self._scope.variables(self._environment.variables(self._config.env))
        instruction = self._state.dockerfile.expand(written, variables)
        match instruction:
            case OwnStep():
                self._own(instruction)
            case Arg():
                self._arg(instruction)
            case Run():
                self._run(instruction)
            case Copy() | Add():
                self._files(instruction)
            case Rsync():
                self._rsync(instruction)
            case Workdir():
                self._workdir(instruction)
            case Volume():
                self._volume(instruction)
            case _:
                self._configure(instruction)

    def _own(self, instruction: OwnStep) -> None:
        self._is_unknown |= instruction.has_unknown_effects

        def files_of(name: str) -> Files:
            return self._files_of(instruction, name)

        self._step(
            instruction,
            lambda: (instruction.step(StepMaker(self._state, self._config, files_of)), ""),
        )
        self._config = instruction.configured(self._config)

    def _arg(self, instruction: Arg) -> None:
        for name, default in instruction.variables:
            text = pair_text("ARG", name, self._scope.declare(name, default))
            if name in PROXY_ARGS:  # the value may hold a password
                text = f"ARG {name} [special]"
            self._change(instruction, text, self._config)

    def _configure(self, instruction: Instruction) -> None:
        try:
            entries = changes(instruction, self._config)
        except BuildError as error:
            raise self._state.dockerfile.error(
                instruction, error.message, hint=error.hint
            ) from error
        if isinstance(instruction, Entrypoint) and not self._has_own_cmd:
            # The base image's CMD belongs to another entrypoint.
            entries = [(text, config.replace(cmd=None)) for text, config in entries or ()]
        for text, config in entries or ():
            self._change(instruction, text, config)
        self._has_own_cmd |= isinstance(instruction, Cmd)

    def _run(self, instruction: Run) -> None:
        try:
            self._step(instruction, lambda: self._run_step(instruction))
        except RunAgain as again:
            self._run_again(instruction, again)
        self._state.note_emulation(self._config.user, is_run=True)

    def _run_step(self, instruction: Run) -> tuple[RunStep, str]:
        def files_of(name: str) -> Files:
            return self._files_of(instruction, name)

        maker = RunStepMaker(self._state, instruction, self._scope, self._config, files_of)
        return maker.step(self._fakeroot)

    def _run_again(self, instruction: Run, again: RunAgain) -> None:
        """Carry out a RUN under ``notify`` that failed under ``seccomp``."""
        self._state.go_on_under_notify()
        try:
            self._step(instruction, lambda: self._run_step(instruction), again)
        except BuildAgain as more:
            more.marks.append(again.mark)
            raise
        except DockerfileError as error:
            if again.failure is not None and not error.message.endswith(again.failure.message):
                first = f"under seccomp, it exited with {again.failure.status}"
                error.hint = "; ".join(filter(None, (first, error.hint)))
            raise
        if again.failure is not None:
            remember_run(self._state, again)

    def _files(self, instruction: Copy | Add) -> None:
        dockerfile = self._state.dockerfile

        def make() -> tuple[TreeStep, str]:
            files: Files = self._state.options.context
            if isinstance(instruction, Copy) and instruction.from_:
                files = self._files_of(instruction, instruction.from_)
            maker = FilesStepMaker(
                files,
                self._state.options.run.access,
                self._store,
                self._state.report,
                lambda error: dockerfile.error(instruction, error.message, hint=error.hint),
            )
            return maker.step(instruction, self._absolute(instruction.destination)), ""

        self._step(instruction, make)

    def _rsync(self, instruction: Rsync) -> None:
        step = rsync_step(self._state, instruction, self._absolute)
        if step.options.needs_image and self._layers is not None:
            self._layers = self._state.here(self._layers)  # the key depends on its files
        self._made_step(instruction, step)

    def _files_of(self, instruction: Instruction, name: str) -> Files:
        """Return the files that ``from`` in an instruction names: a context, or an image's layers.

        If a dry run does not know those layers, it does not know this stage's either.
        """
        files = self._images.named(instruction, name)
        if isinstance(files, BuildContext):
            return files
        if files is None:
            self._layers = None
        return self._state.here(files or ()) if self._fetches else files or ()

    def _workdir(self, instruction: Workdir) -> None:
        path = self._absolute(instruction.path)
        user = emulated_user(self._config.user, self._state.options.run.force)
        self._made_step(instruction, WorkdirStep(f"WORKDIR {path}", path, self._store, user))
        self._state.note_emulation(self._config.user, is_run=False)
        self._config = self._config.replace(working_dir=path)

    def _volume(self, instruction: Volume) -> None:
        for text, config in changes(instruction, self._config) or ():
            paths = tuple(absolute(path) for path in instruction.volumes)
            self._made_step(instruction, VolumeStep(text, paths, self._store))
            self._config = self._config.replace(volumes=config.volumes)

    def _absolute(self, path: str) -> str:
        """Return an absolute path in the image, without ``..``; ``path`` may be relative."""
        return absolute(path, self._config.working_dir)

    def _change(self, instruction: Instruction, text: str, config: ImageConfig) -> None:
        """Apply a change of the configuration alone.

        The cache has it only to tell the user whether it is new.
        """
        status = MISS
        if self._layers is not None:
            content = _content(config), self._environment.digest(config.env)
            key = cache_key("config", self._layers, *content, text)
            if self._remembered(key) is not None:
                status = HIT
            else:
                self._remember(key, None)
        self._state.announce(instruction, status, text)
        self._config = config
        self._record(text, None)

    def _made_step(self, instruction: Instruction, step: TreeStep) -> None:
        self._step(instruction, lambda: (step, ""))

    def _step(
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
        if self._layers is None:
            self._state.announce(instruction, MISS, step.text)
            return
        key = self._key(instruction, step)
        is_announced = again is not None and again.is_announced
        comment = "" if again is None else COMMENT
        mark = Mark(key.local, key.layers)
        hit = self._found(instruction, mark, is_announced=is_announced)
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
            self._layers = None
            return
        if hit is None:
            layer = self._carried_out(instruction, make, (step, notice, key), portable)
        else:
            layer = hit.layer
        self._share(portable, step, layer)
        self._past.steps.append(replace(record, layer=layer or ""))
        self._record(step.text, layer, comment)

    def _explain(self, record: StepRecord, step: TreeStep) -> None:
        """Say why the first result of the stage that is not in the cache is not there."""
        if not self._is_explained:
            self._is_explained = True
            reason = "nothing is looked up, as the command line says"
            if self._looks_up:
                reason = self._state.last.reason(
                    self._past, record, is_independent=step.is_independent
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
        if self._state.shared is not None and self._state.shared.has_promised(key):
            step, notice = self._fetched(make, step)
            key = self._key(instruction, step)
        mark = Mark(key.local, key.layers, portable)
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
            return step.key(() if step.is_independent else self._layers or ())
        except SundogError as error:
            self._state.announce(instruction, MISS, step.text)
            raise self._failure(instruction, error) from error

    def _fetched(
        self, make: Callable[[], tuple[TreeStep, str]], step: TreeStep
    ) -> tuple[TreeStep, str]:
        """Return the step again, with all layers here that it needs; raise PromiseBroken."""
        if self._layers is not None and not step.is_independent:
            self._layers = self._state.here(self._layers)
        self._fetches = True
        try:
            return make()
        finally:
            self._fetches = False

    def _portable(self, key: StepKey, *, is_here: bool) -> str:
        """Return the portable digest of a key; "" where no shared cache gets to know it."""
        shared = self._state.shared
        if self._is_unknown or shared is None or (is_here and not shared.has_destinations):
            return ""
        return shared.key_of(key, self._config)

    def _shared(
        self, instruction: Instruction, key: StepKey, portable: str, *, is_announced: bool
    ) -> CacheHit | None:
        """Return the result in a shared cache; raise as ``_found``."""
        shared = self._state.shared
        assert shared is not None
        hit = shared.find(key, portable, self._layers or ())
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
                self._layers or (),
                self._config,
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
        if not is_fault(error) or self._layers is None:
            return error
        layers = self._state.here(self._layers)
        dockerfile, resolve = self._state.dockerfile, self._stage.names.resolve
        names = named_sources(dockerfile, instruction)
        if any(isinstance(resolve(dockerfile, instruction, name), int) for name in names):
            again_for_files(self._state, instruction, error)
        return explained(self._state, instruction, error, layers, self._config)

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
            self._store.cache.put(key, layer, self._layers or ())

    def _record(self, text: str, layer: str | None, comment: str = "") -> None:
        """Add an instruction's result to the image."""
        created = timestamp(self._state.options.epoch)
        entry = HistoryEntry(created, text, empty_layer=layer is None, comment=comment)
        self._config = self._config.replace(history=(*self._config.history, entry))
        if layer is not None and self._layers is not None:
            self._layers = (*self._layers, layer)
            self._config = self._config.replace(diff_ids=(*self._config.diff_ids, ""))


def _content(config: ImageConfig) -> str:
    """Return a configuration's content without its history and its variables."""
    content = config.replace(created="", history=(), diff_ids=(), env=())
    return json.dumps(content.to_json(), sort_keys=True)
