"""The sections of a definition file as instructions of the builder: each makes its step itself."""

from __future__ import annotations

import posixpath
import shutil
from dataclasses import dataclass

from sundog.image.builder.definition.additions import AdditionsStep, Missing
from sundog.image.builder.definition.apps import app_files, app_place
from sundog.image.builder.definition.finish import POST_ENVIRONMENT, POST_LABELS, Finish
from sundog.image.builder.definition.host_command import SCRIPT, HostStep
from sundog.image.builder.definition.host_files import HostFiles, StageFiles
from sundog.image.builder.files.chmod import ModeChange
from sundog.image.builder.files.chown import OwnerText
from sundog.image.builder.files.context import BuildContext
from sundog.image.builder.files.copy import CopyStep
from sundog.image.builder.own_step import OwnStep
from sundog.image.builder.platforms import foreign_machine
from sundog.image.builder.run.devices import RunDevices
from sundog.image.builder.run.heredoc_command import SCRIPT_DIRECTORY, Script
from sundog.image.builder.run.mounts import RunMounts
from sundog.image.builder.run.step import RunStep
from sundog.image.builder.scope import PROXY_ARGS
from sundog.image.layer.whole_image import DIRECTORY, Addition
from sundog.image.sif.metadata import DEFINITION, LABELS, RUN_ACTION, Metadata
from sundog.image.store.metadata import metadata_files
from sundog.runtime.container.search_path import ENGINE_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.errors import DockerfileError
    from sundog.image.builder.own_step import StepMaker
    from sundog.image.builder.tree_step import TreeStep
    from sundog.image.definition.values import DefinitionStage, FilesSection
    from sundog.image.oci.config import ImageConfig

_HOME = "/root"
_FROM_OUTSIDE = ("CH_RUNNING", *PROXY_ARGS)
# As cp(1) without -p under a umask of 022.
_COPIED_MODE = "go-w,a-st"
_ROOT = "0:0"
_PATHS = {"ENVIRONMENT": f"/{POST_ENVIRONMENT.decode()}", "LABELS": f"/{POST_LABELS.decode()}"}
_SOURCE_SCRIPTS = 'for script in {}; do [ ! -f "$script" ] || . "$script"; done; exec "$@"'
_BASE_SCRIPTS = _SOURCE_SCRIPTS.format("/.singularity.d/env/10-docker*.sh")
_ALL_SCRIPTS = _SOURCE_SCRIPTS.format("/.singularity.d/env/*.sh")
# Each container needs these, and no base of the host's tools need have them.
_DIRECTORIES = {
    **dict.fromkeys((b"dev", b"etc", b"home", b"proc", b"root", b"sys", b"var"), DIRECTORY),
    **dict.fromkeys((b"tmp", b"var/tmp"), Addition("d", 0o1777)),
}
_FINISHED = ("environment", "labels", "runscript", "startscript", "test", "help")
_SHOWN = 200  # characters
_ROOTS_PATH = ":/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skeleton(OwnStep):
    """/.singularity.d as Apptainer makes it of a base; what the base has of it stays.

    ``is_after_pre`` says that commands of the host ran before.
    """

    stage: DefinitionStage
    is_after_pre: bool = False

    @property
    def has_unknown_effects(self) -> bool:
        """Tell whether commands of the host ran before."""
        return self.is_after_pre

    @property
    def name(self) -> str:
        """Return a word for the output."""
        return "base"

    def step(self, maker: StepMaker) -> TreeStep:
        """Return the step."""
        stage, config = self.stage, maker.config
        metadata = Metadata.of_config(config, stage.header("bootstrap"), stage.header("from"), 0)
        additions = metadata.additions()
        for path in (DEFINITION, LABELS):
            del additions[path]
        additions |= _DIRECTORIES
        text = "base: scripts below /.singularity.d"
        return AdditionsStep("skeleton", text, Missing(additions), maker.state.store)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppFiles(OwnStep):
    """The directories and scripts of apps."""

    stage: DefinitionStage

    @property
    def name(self) -> str:
        """Return a word for the output."""
        return "%app"

    def step(self, maker: StepMaker) -> TreeStep:
        """Return the step."""
        text = f"%app {' '.join(self.stage.apps)}"
        files = Missing(app_files(self.stage))
        return AdditionsStep("apps", text, files, maker.state.store)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedFiles(OwnStep):
    """%files, or %appfiles: ``base`` is the directory of an app.

    ``number`` is that of the stage to copy from; "" is the host.
    """

    files: FilesSection
    number: str = ""
    base: str = "/"

    @property
    def name(self) -> str:
        """Return the section's name."""
        return "%files"

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the stage to copy from."""
        return (self.number,) if self.number else ()

    def step(self, maker: StepMaker) -> TreeStep:
        """Return the step."""
        state, files = maker.state, self.files

        def located(message: str, hint: str, line: int) -> DockerfileError:
            return state.dockerfile.source.error(f"%files: {message}", line, hint=hint)

        origin: HostFiles | StageFiles = HostFiles.of(files.pairs, self.base, located)
        words = [self.name]
        if files.stage:
            layers = maker.files_of(self.number)
            assert not isinstance(layers, BuildContext)
            origin = StageFiles.of(files.pairs, layers, state.store, located)
            words += ["from", files.stage]
        first = files.pairs[0]
        words += [first.source, first.destination]
        if len(files.pairs) > 1:
            words.append("...")
        return CopyStep(
            " ".join(filter(None, words)),
            (origin,),
            "/",
            directory=False,
            owner=OwnerText.parse(_ROOT),
            mode=ModeChange.parse(_COPIED_MODE),
            link=False,
            store=state.store,
            located=lambda error: located(error.message, error.hint, files.line),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCommand(OwnStep):
    """%setup, or a tool of the host that makes a tree.

    ``argv`` and ``script`` are as those of ``HostStep``.  One of the ``programs`` must be on the
    host.  With ``is_setup``, nobody knows what it changes.
    """

    word: str
    argv: tuple[str, ...]
    script: str = ""
    programs: tuple[str, ...] = ()
    is_setup: bool = True

    @property
    def name(self) -> str:
        """Return the word for the output."""
        return self.word

    @property
    def has_unknown_effects(self) -> bool:
        """Return True for the user's own commands: they may change the host."""
        return self.is_setup

    def step(self, maker: StepMaker) -> TreeStep:
        """Return the step; raise DockerfileError if the host has no such program."""
        state = maker.state
        environment = dict(state.options.environment)
        if self.programs:  # an ordinary user's $PATH may lack its directory
            environment["PATH"] = f"{environment.get('PATH', '')}{_ROOTS_PATH}"
            path = environment["PATH"]
            if not any(shutil.which(name, path=path) for name in self.programs):
                raise state.dockerfile.error(
                    self,
                    f"Bootstrap: {self.word}: the host has no {' or '.join(self.programs)}",
                    hint="install its package, or start from an image: Bootstrap: docker",
                )
        return HostStep(
            f"{self.word} {_beginning(self.script) or ' '.join(self.argv)}",
            self.argv,
            self.script,
            environment,
            _PATHS,
            state.options.run,
            state.store,
            state.report,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands(OwnStep):
    """%post, %appinstall or %test: ``argv``, in which SCRIPT is the path of ``script``.

    With ``reads_base``, the variables of the base are in its own scripts.  With ``is_test``, all
    variables of the image are set, and no change is kept.
    """

    word: str
    argv: tuple[str, ...]
    script: str
    reads_base: bool = False
    is_test: bool = False

    @property
    def name(self) -> str:
        """Return the word for the output."""
        return self.word

    def step(self, maker: StepMaker) -> TreeStep:
        """Return the step."""
        state, config = maker.state, maker.config
        options = state.options.run
        shared = options, state.store, state.report
        scripts = (Script("script", self.script),) if self.script else ()
        argv = tuple(word.replace(SCRIPT, f"{SCRIPT_DIRECTORY}/script") for word in self.argv)
        if self.reads_base or self.is_test:
            text = _ALL_SCRIPTS if self.is_test else _BASE_SCRIPTS
            argv = ("/bin/sh", "-c", text, "sh", *argv)
        variables = {"HOME": _HOME, "LANG": "C", "PATH": ENGINE_PATH, **config.environment}
        for prefix in ("APPTAINER", "SINGULARITY"):
            variables |= {f"{prefix}_{name}": path for name, path in _PATHS.items()}
        outside = state.scope.of_host()
        return RunStep(
            *shared,
            f"{self.word} {_beginning(self.script) or ' '.join(self.argv)}",
            argv,
            {**options.force.environment, **variables},
            {
                **options.force.unkeyed,
                **{name: outside[name] for name in _FROM_OUTSIDE if name in outside},
            },
            "/",
            RunMounts(
                *shared,
                (),
                scripts,
                RunDevices((), options, state.report),
                metadata_files(config) | options.force.files,
            ),
            machine=foreign_machine(config),
            what=self.word,
            is_discarded=self.is_test,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finishing(OwnStep):
    """%environment, %labels, %runscript, %startscript, %test and %help."""

    stage: DefinitionStage
    sections: frozenset[str]

    @property
    def name(self) -> str:
        """Return a word for the output."""
        return "metadata"

    def step(self, maker: StepMaker) -> TreeStep:
        """Return the step."""
        config = maker.config
        finish = Finish(
            self.stage,
            self.sections,
            config.architecture,
            maker.state.options.epoch,
            config.labels,
        )
        names = [name for name in _FINISHED if self.stage.section(name) and name in self.sections]
        text = f"metadata {' '.join(f'%{name}' for name in names)}".rstrip()
        return AdditionsStep("finish", text, finish, maker.state.store)

    def configured(self, config: ImageConfig) -> ImageConfig:
        """Return the configuration with the runscript as its command, if there is one."""
        if self.stage.section("runscript") is None or "runscript" not in self.sections:
            return config
        return config.replace(entrypoint=(RUN_ACTION,), cmd=None)


def app_script(name: str, text: str) -> str:
    """Return the script of %appinstall."""
    place = app_place(name)
    return f"cd /\n. {posixpath.join(place, 'scif/env/01-base.sh')}\ncd {place}\n{text}"


def _beginning(text: str) -> str:
    """Return the first line of a script, for the output."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    first = lines[0][:_SHOWN] if lines else ""
    return first + (" ..." if len(lines) > 1 else "")
