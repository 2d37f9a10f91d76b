"""One stage of a build: from its instructions to steps."""

from __future__ import annotations

from sundog.errors import BuildError, DockerfileError
from sundog.image.builder.bases import SCRATCH, scratch_config
from sundog.image.builder.files.add import FilesStepMaker
from sundog.image.builder.files.context import BuildContext
from sundog.image.builder.files.rsync_instruction import rsync_step
from sundog.image.builder.metadata import changes, from_text, pair_text
from sundog.image.builder.own_step import OwnStep, StepMaker
from sundog.image.builder.platforms import check_platform, wanted_platform
from sundog.image.builder.report import HIT, MISS, ends_reported
from sundog.image.builder.retry import (
    BuildAgain,
    RunAgain,
    remember_run,
)
from sundog.image.builder.run.run_instruction import RunStepMaker, new_command
from sundog.image.builder.scope import PROXY_ARGS, StageScope
from sundog.image.builder.shell_form import warn_of_shell_form
from sundog.image.builder.stage_images import StageImages
from sundog.image.builder.stage_steps import StageSteps
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
from sundog.image.oci.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.builder.files.add import Files
    from sundog.image.builder.graph import Stage
    from sundog.image.builder.run.fakeroot import Fakeroot
    from sundog.image.builder.run.step import RunStep
    from sundog.image.builder.state import BuildState
    from sundog.image.builder.tree_step import TreeStep
    from sundog.image.dockerfile.instructions import Instruction


def stage_result(state: BuildState, index: int) -> StageResult:
    """Return the result of a stage; build it first if need be.

    A build learns what an ONBUILD trigger needs only when its stage begins.
    """
    if index not in state.results:
        found = None if state.crew is None else state.crew.late(index)
        if found is None:
            found = StageBuild(state, state.graph.stages[index]).run()
        state.results[index] = found
    return state.results[index]


class StageBuild:
    """A stage during its build."""

    def __init__(self, state: BuildState, stage: Stage) -> None:
        self._state = state
        self._stage = stage
        self._store = state.store
        self._images = StageImages(state, stage, lambda index: stage_result(state, index))
        self._scope = StageScope(state.scope)
        self._steps = StageSteps(state, stage)
        self._has_own_cmd = False
        self._base = 0  # the number of layers of the image that the build started from
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
        steps = self._steps
        return StageResult(steps.layers, steps.config, self._scope.args, steps.past, self._base)

    def _from(self) -> None:
        base, start = self._stage.base, self._stage.start
        options = self._state.options
        platform = wanted_platform(self._state.dockerfile, start) or options.platform
        status = HIT
        if isinstance(base, int):
            result = stage_result(self._state, base)
            self._steps.start_from(result.layers, result.config)
            self._base = result.base
            self._scope.args.update(result.args)
        elif isinstance(base, BuildContext):
            raise self._state.dockerfile.error(
                start,
                f"FROM needs an image, and the context {start.image_text} is not one",
                near=start.image_text,
                hint="make an image of it with ch-image import; or use COPY --from",
            )
        elif base == SCRATCH:
            self._steps.configure(scratch_config(platform or Platform.of_host()))
        else:
            if isinstance(base, str):
                self._state.bases.append(base)
            with self._images.showing(start, start.image_text):
                known = self._images.find(base, platform)
            if known is None:
                status = MISS
            else:
                self._steps.start_from(*known)
        self._state.announce(start, status, from_text(start))
        if status == MISS:
            assert not isinstance(base, int | BuildContext)
            with self._images.showing(start, start.image_text):
                known = self._images.fetch(base, platform)
            if known is None:  # then a dry run knows nothing of it
                self._steps.forget_layers()
            else:
                self._steps.start_from(*known)
        if not isinstance(base, int):
            self._base = len(self._steps.layers or ())
        if platform is not None:
            check_platform(self._state.dockerfile, start, self._steps.config, platform)
        image = base if isinstance(base, str) and base != SCRATCH else ""
        self._steps.note_base(from_text(start), image)

    def _triggers(self) -> tuple[Instruction, ...]:
        """Remove the base's ONBUILD triggers from the configuration and return them."""
        if self._state.options.is_modification or self._state.options.ignores_triggers:
            return ()
        texts = self._steps.config.on_build
        self._steps.configure(self._steps.config.replace(on_build=()))
        start = self._stage.start
        if texts:
            self._state.report.info(f"ONBUILD: {start.image_text} triggers {len(texts)}")
        triggers = parse_triggers(self._state.dockerfile, start, texts)
        warn_of_shell_form(self._state.dockerfile, triggers, self._state.report)
        return triggers

    def _instruction(self, written: Instruction) -> None:
        variables = self._scope.variables(self._steps.variables)
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
        if instruction.has_unknown_effects:
            self._steps.remember_no_more()

        def files_of(name: str) -> Files:
            return self._files_of(instruction, name)

        self._steps.take(
            instruction,
            lambda: (instruction.step(StepMaker(self._state, self._steps.config, files_of)), ""),
        )
        self._steps.configure(instruction.configured(self._steps.config))

    def _arg(self, instruction: Arg) -> None:
        for name, default in instruction.variables:
            text = pair_text("ARG", name, self._scope.declare(name, default))
            if name in PROXY_ARGS:  # the value may hold a password
                text = f"ARG {name} [special]"
            self._steps.change(instruction, text, self._steps.config)

    def _configure(self, instruction: Instruction) -> None:
        try:
            entries = changes(instruction, self._steps.config)
        except BuildError as error:
            raise self._state.dockerfile.error(
                instruction, error.message, hint=error.hint
            ) from error
        if isinstance(instruction, Entrypoint) and not self._has_own_cmd:
            # The base image's CMD belongs to another entrypoint.
            entries = [(text, config.replace(cmd=None)) for text, config in entries or ()]
        for text, config in entries or ():
            self._steps.change(instruction, text, config)
        self._has_own_cmd |= isinstance(instruction, Cmd)

    def _run(self, instruction: Run) -> None:
        try:
            self._steps.take(instruction, lambda: self._run_step(instruction))
        except RunAgain as again:
            self._run_again(instruction, again)
        self._state.note_emulation(self._steps.config.user, is_run=True)

    def _run_step(self, instruction: Run) -> tuple[RunStep, str]:
        def files_of(name: str) -> Files:
            return self._files_of(instruction, name)

        maker = RunStepMaker(self._state, instruction, self._scope, self._steps.config, files_of)
        return maker.step(self._fakeroot)

    def _run_again(self, instruction: Run, again: RunAgain) -> None:
        """Carry out a RUN under ``notify`` that failed under ``seccomp``."""
        self._state.go_on_under_notify()
        try:
            self._steps.take(instruction, lambda: self._run_step(instruction), again)
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

        self._steps.take(instruction, make)

    def _rsync(self, instruction: Rsync) -> None:
        step = rsync_step(self._state, instruction, self._absolute)
        if step.options.needs_image:
            self._steps.fetch_layers()  # the key depends on its files
        self._steps.made(instruction, step)

    def _files_of(self, instruction: Instruction, name: str) -> Files:
        """Return the files that ``from`` in an instruction names: a context, or an image's layers.

        If a dry run does not know those layers, it does not know this stage's either.
        """
        files = self._images.named(instruction, name)
        if isinstance(files, BuildContext):
            return files
        if files is None:
            self._steps.forget_layers()
        return self._state.here(files or ()) if self._steps.fetches else files or ()

    def _workdir(self, instruction: Workdir) -> None:
        path = self._absolute(instruction.path)
        user = emulated_user(self._steps.config.user, self._state.options.run.force)
        self._steps.made(instruction, WorkdirStep(f"WORKDIR {path}", path, self._store, user))
        self._state.note_emulation(self._steps.config.user, is_run=False)
        self._steps.configure(self._steps.config.replace(working_dir=path))

    def _volume(self, instruction: Volume) -> None:
        for text, config in changes(instruction, self._steps.config) or ():
            paths = tuple(absolute(path) for path in instruction.volumes)
            self._steps.made(instruction, VolumeStep(text, paths, self._store))
            self._steps.configure(self._steps.config.replace(volumes=config.volumes))

    def _absolute(self, path: str) -> str:
        """Return an absolute path in the image, without ``..``; ``path`` may be relative."""
        return absolute(path, self._steps.config.working_dir)
