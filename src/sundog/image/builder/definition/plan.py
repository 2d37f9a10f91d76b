"""A definition file as stages of the builder.  Pure: a definition and options in, values out.

The order of a stage is that of Apptainer's user guide: %pre, the base, files of earlier stages,
%setup, %files, %post, the apps, and then all that is written to /.singularity.d; %test at last.
"""

from __future__ import annotations

from dataclasses import dataclass

from sundog.image.builder.bases import SCRATCH
from sundog.image.builder.definition.agents import (
    CONFIGURATION,
    Busybox,
    Empty,
    Made,
    Registry,
    start_of,
)
from sundog.image.builder.definition.apps import app_place
from sundog.image.builder.definition.host_command import SCRIPT
from sundog.image.builder.definition.instructions import (
    AppFiles,
    Commands,
    CopiedFiles,
    Finishing,
    HostCommand,
    Skeleton,
    app_script,
)
from sundog.image.definition.parse import file_pair
from sundog.image.definition.values import FilePair, FilesSection
from sundog.image.dockerfile.instructions import Add, From, Place
from sundog.image.dockerfile.parse import Dockerfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sundog.errors import DockerfileError
    from sundog.image.builder.definition.agents import Start
    from sundog.image.definition.values import Definition, DefinitionStage, Section
    from sundog.image.dockerfile.expansion import InstructionT
    from sundog.image.dockerfile.instructions import Instruction

# --section names one of the first row; the others belong to no word of it.
ALL = frozenset(
    (
        *("setup", "post", "files", "environment", "labels", "test"),
        *("pre", "runscript", "startscript", "help", "apps"),
    )
)
_BUSYBOX = "/bin/busybox"
_LINKS = "{busybox} mkdir -p /bin /sbin /usr/bin /usr/sbin && {busybox} --install -s"


class Plan(Dockerfile):
    """A definition file as the builder carries it out: nothing in it is expanded."""

    __slots__ = ()

    def expand(self, instruction: InstructionT, variables: Mapping[str, str]) -> InstructionT:  # noqa: ARG002
        """Return the instruction."""
        return instruction


@dataclass(frozen=True, slots=True)
class Wanted:
    """The parts of a definition that are carried out.

    ``sections`` are the words of --section, or ALL.  ``base`` replaces the base of the last stage
    (--update).
    """

    sections: frozenset[str] = ALL
    runs_test: bool = True
    base: Start | None = None


@dataclass(frozen=True, slots=True)
class PlannedBase:
    """The base of a stage, which a text in its FROM names, and the %pre before it."""

    start: Start
    pre: HostCommand | None


def plan_of(
    definition: Definition, wanted: Wanted, machine: str
) -> tuple[Plan, Mapping[str, PlannedBase], list[str]]:
    """Return the stages, their bases by the image's name in FROM, and warnings.

    Raises DockerfileError.
    """
    instructions: list[Instruction] = []
    bases: dict[str, PlannedBase] = {}
    warnings: list[str] = []
    names = {
        name: str(at)
        for at, stage in enumerate(definition.stages)
        if (name := stage.header("stage"))
    }
    for at, stage in enumerate(definition.stages):
        is_last = at == len(definition.stages) - 1
        planner = _StagePlanner(definition, stage, wanted, names, machine)
        base = wanted.base if is_last else None
        body, planned, unused = planner.plan(base, is_last=is_last)
        start = body[0]
        assert isinstance(start, From)
        if planned is not None:
            bases[start.image_text] = planned
        instructions += body
        warnings += [
            f"{definition.path}:{stage.headers[keyword].line}: {keyword} has no effect"
            for keyword in unused
        ]
    plan = Plan(definition.path, (), tuple(instructions), definition.source)
    return plan, bases, warnings


class _StagePlanner:
    """Makes the instructions of one stage; ``names`` has the numbers of stages."""

    def __init__(
        self,
        definition: Definition,
        stage: DefinitionStage,
        wanted: Wanted,
        names: Mapping[str, str],
        machine: str,
    ) -> None:
        self._source = definition.source
        self._stage = stage
        self._wanted = wanted
        self._names = names
        self._machine = machine

    def plan(
        self, base: Start | None, *, is_last: bool
    ) -> tuple[list[Instruction], PlannedBase | None, list[str]]:
        """Return the instructions, what FROM names, and keywords without effect."""
        unused: list[str] = []
        if base is None:
            base, unused = start_of(self._stage, self._machine, self._fault)
        pre = self._host_command("pre")
        bootstrap = self._bootstrap(base)
        planned = None
        text = SCRATCH
        if isinstance(base, Registry) and pre is None:
            text = base.name
        elif bootstrap is None and not isinstance(base, Empty):
            text = f"{self._stage.header('bootstrap')} {self._stage.header('from')}".strip()
            text = f"{text} (line {self._stage.line})"
            planned = PlannedBase(base, pre)
        elif pre is not None:
            bootstrap = [pre, *(bootstrap or ())]
        place = self._place(self._stage.line)
        has_unknown = planned is not None and pre is not None
        return (
            [
                From(place=place, image_text=text),
                *(bootstrap or ()),
                Skeleton(place=place, stage=self._stage, is_after_pre=has_unknown),
                *self._sections(is_last=is_last),
            ],
            planned,
            unused,
        )

    def _bootstrap(self, base: Start) -> list[Instruction] | None:
        """Return the instructions that make a base; None if an image is the base."""
        place = self._place(self._stage.line)
        if isinstance(base, Made):
            command = HostCommand(
                place=place,
                word=self._stage.header("bootstrap"),
                argv=base.argv,
                script=base.script,
                programs=base.programs,
                is_setup=False,
            )
            if not base.source:
                return [command]
            return [self._fetched(base.source, CONFIGURATION, "644"), command]
        if not isinstance(base, Busybox):
            return None
        install = Commands(
            place=place,
            word="busybox",
            argv=(_BUSYBOX, "sh", "-c", _LINKS.format(busybox=_BUSYBOX)),
            script="",
        )
        return [self._fetched(base.source, _BUSYBOX, "755"), install]

    def _fetched(self, source: str, destination: str, mode: str) -> Instruction:
        """Return the instruction that copies a file from a URL, or from a path of the host."""
        line = self._stage.line
        if "://" in source:
            place = self._place(line)
            return Add(place=place, sources=(source,), destination=destination, chmod=mode)
        pair = FilePair(line, source, destination)
        return CopiedFiles(place=self._place(line), files=FilesSection(line, "", (pair,)))

    def _sections(self, *, is_last: bool) -> list[Instruction]:
        stage, sections = self._stage, self._wanted.sections
        body: list[Instruction] = []
        has_files = "files" in sections
        if has_files:
            body += [self._copied(files) for files in stage.files if files.stage and files.pairs]
        if setup := self._host_command("setup"):
            body.append(setup)
        if has_files:
            body += [
                self._copied(files) for files in stage.files if not files.stage and files.pairs
            ]
        has_apps = bool(stage.apps) and "apps" in sections
        if has_apps:
            body.append(AppFiles(place=self._place(stage.line), stage=stage))
            body += [files for name in stage.apps if (files := self._app_copied(name))]
        if post := self._commands("post"):
            body.append(post)
        if has_apps:
            body += [each for name in stage.apps if (each := self._installed(name))]
        body.append(Finishing(place=self._place(stage.line), stage=stage, sections=sections))
        test = self._section("test")
        if is_last and test is not None and self._wanted.runs_test:
            body.append(
                Commands(
                    place=self._placed(test),
                    word="%test",
                    argv=("/.singularity.d/test",),
                    script="",
                    is_test=True,
                )
            )
        return body

    def _section(self, name: str) -> Section | None:
        return self._stage.section(name) if name in self._wanted.sections else None

    def _copied(self, files: FilesSection) -> CopiedFiles:
        number = self._names.get(files.stage, "")
        return CopiedFiles(place=self._place(files.line), files=files, number=number)

    def _app_copied(self, name: str) -> CopiedFiles | None:
        section = self._stage.section("appfiles", name)
        if section is None:
            return None
        found = (file_pair(self._source, line, "%appfiles") for line in section.lines)
        pairs = tuple(pair for pair in found if pair is not None)
        if not pairs:
            return None
        files = FilesSection(section.line, "", pairs)
        return CopiedFiles(place=self._placed(section), files=files, base=app_place(name))

    def _host_command(self, name: str) -> HostCommand | None:
        section = self._section(name)
        if section is None:
            return None
        return HostCommand(
            place=self._placed(section),
            word=f"%{name}",
            argv=self._shell(section),
            script=section.text,
        )

    def _commands(self, name: str) -> Commands | None:
        section = self._section(name)
        if section is None:
            return None
        return Commands(
            place=self._placed(section),
            word=f"%{name}",
            argv=self._shell(section),
            script=section.text,
            reads_base=self._stage.header("bootstrap").lower() in ("localimage", "oras"),
        )

    def _installed(self, name: str) -> Commands | None:
        section = self._stage.section("appinstall", name)
        if section is None:
            return None
        return Commands(
            place=self._placed(section),
            word=f"%appinstall {name}",
            argv=("/bin/sh", "-ex", SCRIPT),
            script=app_script(name, section.text),
        )

    def _shell(self, section: Section) -> tuple[str, ...]:
        """Return the words that run a section's script: those behind its name are options of sh."""
        words = section.words.partition("#")[0].split()
        if "-c" not in words:
            return ("/bin/sh", "-ex", *words, SCRIPT)
        at = words.index("-c")
        if at == len(words) - 1:
            raise self._source.error(
                f"%{section.name} -c needs a shell",
                section.line,
                hint=f"write %{section.name} -c /bin/bash",
            )
        return ("/bin/sh", "-ex", *words[: at + 1], " ".join((*words[at + 1 :], SCRIPT)))

    def _placed(self, section: Section) -> Place:
        return Place(section.line, section.end_line, f"%{section.name}")

    def _place(self, line: int) -> Place:
        return Place(line, line, "")

    def _fault(self, message: str, hint: str, keyword: str) -> DockerfileError:
        line = self._stage.headers[keyword].line
        return self._source.error(message, line, hint=hint)


def sections_of(words: Collection[str]) -> frozenset[str]:
    """Return the sections that the values of --section name; none and all are words, too."""
    if not words or "all" in words:
        return ALL
    return frozenset(word for word in words if word != "none")
