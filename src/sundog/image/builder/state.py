"""The state that the stages of a build share: results, messages and counts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from sundog.image.builder.explanation import LastBuild
from sundog.image.builder.force import Force
from sundog.image.builder.options import CACHE_ENABLED
from sundog.image.builder.scope import TOO_LARGE
from sundog.image.builder.user import is_root, stays_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from typing import Protocol

    from sundog.image.builder.explanation import StageRecord
    from sundog.image.builder.graph import StageGraph
    from sundog.image.builder.options import BuildOptions
    from sundog.image.builder.places import Places
    from sundog.image.builder.report import Announcement, Report
    from sundog.image.builder.scope import GlobalScope
    from sundog.image.builder.shared.cache import SharedBuild
    from sundog.image.dockerfile.instructions import Instruction
    from sundog.image.dockerfile.parse import Dockerfile
    from sundog.image.oci.config import ImageConfig
    from sundog.image.store.store import Store

    class Crew(Protocol):
        """The processes that build stages side by side."""

        def missed(self, key: str, *, waits: bool) -> None:
            """Take note that a step, or an image, has to be made, which ``key`` names.

            With ``waits``, another process that makes the same is waited for.  Another process
            may return from this and go on with the stage; then this one raises.
            """

        def found(self, key: str) -> None:
            """Take note that the cache has the step ``key``."""

        def switched(self) -> None:
            """Take note that the present stage goes on under ``notify``."""

        def late(self, index: int) -> StageResult | None:
            """Return the result of a stage that another needs, as has just turned out.

            None if the caller has to build it.
            """


@dataclass(frozen=True, slots=True)
class StageResult:
    """The result of a stage; ``layers`` is None if a dry run does not know them.

    A layer that a shared cache promised goes by its diff ID.  ``args`` are the ARGs that a stage
    built from this one sees, too.  ``record`` is for later explanations.
    The lowest ``base`` layers are those of the image that the build started from.
    """

    layers: tuple[str, ...] | None
    config: ImageConfig
    args: Mapping[str, str]
    record: StageRecord
    base: int = 0

    def with_layers(self, layers: tuple[str, ...]) -> StageResult:
        """Return the same with other layers."""
        return replace(self, layers=layers)


@dataclass(frozen=True, slots=True)
class Remains:
    """The state before an instruction that failed; ``bases`` are the images of its stage."""

    layers: tuple[str, ...]
    config: ImageConfig
    bases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """The end of a stage that had a state of its own: results, counts and flags of that state."""

    results: Mapping[int, StageResult]
    bases: tuple[str, ...]
    instructions: int
    ran: int
    modified: int
    has_unseen: bool
    has_stayed_root: bool
    declared: tuple[str, ...]
    size: int
    remains: Remains | None


@dataclass
class BuildState:
    """The state that the stages of a build share.

    ``results`` has the results of finished stages, by index.  ``bases`` has the images that they
    started from.  ``shared`` has the shared caches, if there are any, and ``uncached`` the
    indices of the stages that are built anew.  Then come counts: all instructions, RUNs that ran,
    and those of them whose command ``--force`` changed.
    ``announced`` is the last instruction, ``remains`` is what a failure left, and ``crew`` builds
    stages side by side.
    ``has_unseen`` tells whether there are files whose owners ``seccomp`` did not record, and
    ``has_stayed_root`` whether a RUN did not become its USER.
    """

    store: Store
    dockerfile: Dockerfile
    options: BuildOptions
    report: Report
    scope: GlobalScope
    graph: StageGraph
    places: Places
    shared: SharedBuild | None = None
    uncached: frozenset[int] = frozenset()
    results: dict[int, StageResult] = field(default_factory=dict)
    bases: list[str] = field(default_factory=list)
    instructions: int = 0
    ran: int = 0
    modified: int = 0
    has_unseen: bool = False
    has_stayed_root: bool = False
    announced: Announcement | None = None
    remains: Remains | None = None
    crew: Crew | None = None

    @cached_property
    def last(self) -> LastBuild:
        """The last build under the name of this one."""
        return LastBuild.of(self.store, self.options.tags)

    @property
    def looks_up(self) -> bool:
        """Tell whether results are taken from caches."""
        return self.options.cache_mode == CACHE_ENABLED

    def branch(self, options: BuildOptions, crew: Crew) -> BuildState:
        """Return the state for one stage; ``absorb`` adds its ``outcome``."""
        return replace(
            self,
            options=options,
            crew=crew,
            scope=self.scope.branch(),
            bases=[],
            instructions=0,
            ran=0,
            modified=0,
        )

    def go_on_with(self, crew: Crew) -> None:
        """Ask another crew from now on: this process is a new one, for one stage."""
        self.crew = crew

    def outcome(self, known: Container[int] = ()) -> StageOutcome:
        """Return what has come of a branch, with the results of all stages but ``known``."""
        return StageOutcome(
            {index: result for index, result in self.results.items() if index not in known},
            tuple(self.bases),
            self.instructions,
            self.ran,
            self.modified,
            self.has_unseen,
            self.has_stayed_root,
            tuple(self.scope.declared),
            self.scope.size,
            self.remains,
        )

    def absorb(self, outcome: StageOutcome) -> None:
        """Add what has come of a branch."""
        self.results.update(outcome.results)
        self.bases += outcome.bases
        self.instructions += outcome.instructions
        self.ran += outcome.ran
        self.modified += outcome.modified
        self.has_unseen |= outcome.has_unseen
        self.has_stayed_root |= outcome.has_stayed_root
        self.scope.absorb(outcome.declared, outcome.size)

    def forget(self, outcome: StageOutcome) -> None:
        """Take back the results and counts of a branch that begins again."""
        for index in outcome.results:
            self.results.pop(index, None)
        self.instructions -= outcome.instructions
        self.ran -= outcome.ran
        self.modified -= outcome.modified

    def inherit_remains(self, outcome: StageOutcome) -> None:
        """Take over what a failure left in a branch."""
        self.remains = outcome.remains

    def break_off(self, layers: tuple[str, ...], config: ImageConfig) -> None:
        """Take note of the state before an instruction that failed."""
        self.remains = Remains(layers, config, tuple(self.bases))

    def here(self, layers: tuple[str, ...]) -> tuple[str, ...]:
        """Return layers by their IDs, and fetch those that are not here; raise PromiseBroken."""
        return layers if self.shared is None else self.shared.here(layers)

    def announce(self, instruction: Instruction, status: str, text: str) -> None:
        """Print the line of an instruction and count it."""
        if not self.scope.has_room(text):
            raise self.dockerfile.error(instruction, TOO_LARGE)
        self.announced = self.places.announce(instruction.line, status, text)
        self.report.begin(self.announced)
        self.instructions += 1

    def announce_change(self, notice: str) -> None:
        """Print that a RUN gets another command, and count it."""
        self.report.info(notice)
        self.modified += 1

    def note_emulation(self, user: str, *, is_run: bool) -> None:
        """Take note of the emulation under which a RUN, or a WORKDIR, of ``user`` made files."""
        if self.options.run.force.seccomp:
            self.has_unseen |= is_run or not is_root(user)
            self.has_stayed_root |= is_run and not is_root(user)

    def go_on_under_notify(self) -> None:
        """Emulate root by ``notify`` from now on."""
        if self.crew is not None:
            self.crew.switched()
        if not self.has_stayed_root:
            self.report.withdraw(stays_root(self.options.run.force))
        self.options = replace(
            self.options, run=replace(self.options.run, force=Force.choose("notify"))
        )
