"""Try a RUN again under ``notify`` if ``seccomp`` may be why it failed.

A RUN that fails with a sign of that (``run.signs``) starts again from the state before it, and all
later RUNs have ``notify``, too.  If one of these fails as well, the cause may be below: owners that
``seccomp`` did not record.  Then the build begins again under ``notify``.  The build cache
remembers both, so that the next build has no failure to repeat; so do shared caches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sundog.errors import CommandFailed
from sundog.image.builder.chosen_force import notify_obstacle
from sundog.image.builder.keys import cache_key, digest_of
from sundog.image.builder.options import CACHE_DISABLED, CACHE_ENABLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.errors import SundogError
    from sundog.image.builder.keys import StepKey
    from sundog.image.builder.state import BuildState
    from sundog.image.dockerfile.instructions import Instruction, Run

COMMENT = "seccomp failed, so notify"  # in the history of an image
_RUN, _BUILD = "run", "build"  # what began again


@dataclass(frozen=True, slots=True)
class Mark:
    """A step: its key, the layers below it, and its portable key ("" if there is none).

    ``template`` is the key without the layers.
    """

    key: str
    below: Sequence[str]
    portable: str
    template: str

    @classmethod
    def of(cls, key: StepKey, portable: str = "") -> Mark:
        """Return the mark of a step with this key."""
        return cls(key.local, key.layers, portable, key.template)


class RunAgain(Exception):
    """A RUN is to begin again under ``notify``.

    ``mark`` is that of the step that failed.  ``failure`` is None if another build saw it fail;
    ``is_announced`` tells whether the line of the instruction has been printed.
    """

    def __init__(
        self, mark: Mark, failure: CommandFailed | None = None, *, is_announced: bool = True
    ) -> None:
        super().__init__()
        self.mark = mark
        self.failure = failure
        self.is_announced = is_announced


class BuildAgain(Exception):
    """The whole build is to begin again under ``notify``.

    ``marks`` are those of the steps that failed.
    """

    def __init__(self, *marks: Mark) -> None:
        super().__init__()
        self.marks = [*marks]

    def remember(self, state: BuildState) -> None:
        """Let later builds begin again where this one did at the latest."""
        for mark in self.marks:
            _remember(state, mark, _BUILD)


def recall(state: BuildState, instruction: Run, mark: Mark, *, is_announced: bool) -> None:
    """Raise RunAgain or BuildAgain if an earlier build had to begin again at the step ``mark``."""
    options = state.options
    if not options.run.retry or options.cache_mode != CACHE_ENABLED:
        return
    kinds = (_RUN, _BUILD) if options.run.force.seccomp else (_BUILD,)
    cache = state.store.cache
    known = [kind for kind in kinds if cache.get(_note_key(kind, mark.key)) is not None]
    _raise_known(state, instruction, mark, known, is_announced=is_announced)


def recall_shared(
    state: BuildState, instruction: Run, key: StepKey, portable: str, *, is_announced: bool
) -> None:
    """Raise RunAgain or BuildAgain if a shared cache says that a build had to begin again there.

    The store remembers that, too.
    """
    if not portable or state.shared is None or not state.options.run.retry:
        return
    kinds = (_RUN, _BUILD) if state.options.run.force.seccomp else (_BUILD,)
    mark = Mark.of(key, portable)
    known = [kind for kind in kinds if state.shared.has_note(note_digest(portable, kind))]
    if not state.options.dry_run:
        for kind in known:
            state.shared.keep_note(key, partial(_note_key, kind))
    _raise_known(state, instruction, mark, known, is_announced=is_announced)


def _raise_known(
    state: BuildState, instruction: Run, mark: Mark, known: Sequence[str], *, is_announced: bool
) -> None:
    """Raise RunAgain or BuildAgain if one of them is ``known``, and possible here."""
    if not known or notify_obstacle():  # another node may share the cache
        return
    where = f"line {instruction.line}: RUN"
    if _RUN in known:
        state.report.info(f"{where} under notify from here on: under seccomp, it failed before")
        raise RunAgain(mark, is_announced=is_announced)
    state.report.info(
        f"{where} failed before, on files of seccomp: building from the start under notify"
    )
    raise BuildAgain


def remember_run(state: BuildState, again: RunAgain) -> None:
    """Let later builds run the step under ``notify`` at once, because that has succeeded."""
    _remember(state, again.mark, _RUN)


def try_again(
    state: BuildState, instruction: Instruction, mark: Mark, failure: CommandFailed
) -> None:
    """Raise RunAgain or BuildAgain if ``failure`` has a sign that ``notify`` may help."""
    options = state.options.run
    is_possible = options.retry and (options.force.seccomp or state.has_unseen)
    if not is_possible or not failure.sign or notify_obstacle():
        return
    where = f"line {instruction.line}: RUN exited with {failure.status}"
    if options.force.seccomp:
        state.report.info(
            f"{where}, and {failure.sign}: trying it again under notify, from the state before it; "
            "later RUNs have notify, too"
        )
        raise RunAgain(mark, failure)
    state.report.info(
        f"{where}, and {failure.sign}: building again from the start under notify, because seccomp "
        "recorded no owners before"
    )
    raise BuildAgain(mark)


def again_for_files(state: BuildState, instruction: Instruction, error: SundogError) -> None:
    """Raise BuildAgain if an instruction misses what a RUN of another stage made elsewhere.

    A RUN after USER that stays root has the home directory of root.
    """
    is_possible = state.options.run.retry and state.has_stayed_root
    if is_possible and not isinstance(error, CommandFailed) and not notify_obstacle():
        state.report.info(
            f"line {instruction.line}: {error.message}: building again from the start under "
            "notify, because a RUN after USER stayed root"
        )
        raise BuildAgain


def _note_key(kind: str, key: str) -> str:
    return cache_key("again", (), key, kind)


def note_digest(portable: str, kind: str = _RUN) -> str:
    """Return the portable key of the note that a step had to be tried again."""
    return digest_of(("again", portable, kind))


def _remember(state: BuildState, mark: Mark, kind: str) -> None:
    if mark.portable and state.shared is not None and not state.options.dry_run:
        state.shared.write_note(note_digest(mark.portable, kind), COMMENT)
    if state.options.cache_mode != CACHE_DISABLED and not state.options.dry_run:
        state.store.cache.put(_note_key(kind, mark.key), None, mark.below)
