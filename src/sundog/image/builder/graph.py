"""The stages of a Dockerfile, and the stages that each of them needs.

Specification: the Dockerfile reference, “FROM”, and “Use multi-stage builds”.  A stage's name or
number refers to an earlier stage; any other name refers to an image.  A context of that name, which
the user gave, takes precedence over both.  A build leaves out stages that the target does not need.
This module gives the needed stages no order, except that a stage has a higher number than the
stages that it needs.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from sundog.errors import UsageError
from sundog.image.builder.own_instruction import OwnInstruction
from sundog.image.builder.scope import TOO_LARGE
from sundog.image.dockerfile.flags import did_you_mean
from sundog.image.dockerfile.instructions import Arg, Copy, From, Run
from sundog.image.dockerfile.mounts import MountSyntaxError, source_of_mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from sundog.image.builder.files.context import NamedContext
    from sundog.image.builder.scope import GlobalScope
    from sundog.image.dockerfile.instructions import Instruction
    from sundog.image.dockerfile.parse import Dockerfile

    # The index of an earlier stage, or a context or image from elsewhere.
    Base: TypeAlias = int | NamedContext

_DIGITS_LIMIT = 20  # of a stage's number; Python refuses to read very long ones


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: ``start`` is its FROM after substitution.

    ``names`` resolves the names in its instructions; ``sources`` are all bases that they name.
    """

    index: int
    start: From
    base: Base
    instructions: tuple[Instruction, ...]
    names: StageNames
    sources: tuple[Base, ...]

    def needs(self) -> set[int]:
        """Return the stages that this stage is made from."""
        return {base for base in (self.base, *self.sources) if isinstance(base, int)}


@dataclass(frozen=True, slots=True)
class StageNames:
    """The names of stages, as the stage ``index`` sees them.

    ``named`` has all stages of each name, in order; ``contexts`` take precedence over them.
    """

    index: int
    named: Mapping[str, Sequence[int]]
    contexts: Mapping[str, NamedContext]

    def earlier(self, name: str) -> int | None:
        """Return the last stage of a name before this one; None if there is none."""
        indices = self.named.get(name.lower(), ())
        count = bisect_left(indices, self.index)
        return indices[count - 1] if count else None

    def near(self, name: str) -> str:
        """Return a hint with the earlier stage whose name is most like ``name``; "" if none is."""
        earlier = [known for known, indices in self.named.items() if indices[0] < self.index]
        return did_you_mean(name.lower(), earlier, prefix="stage ")

    def resolve(self, dockerfile: Dockerfile, instruction: Instruction, name: str) -> Base:
        """Return the base that ``from`` in an instruction names; raise DockerfileError."""
        fault = ""
        if (key := context_key(name)) in self.contexts:
            return self.contexts[key]
        if is_stage_number(name.removeprefix("-")) and name.startswith("-"):
            fault = f"a stage's number can't be negative: {name}"
        elif is_stage_number(name):
            if int(name) < self.index:
                return int(name)
            is_current = int(name) == self.index
            fault = f"stage {name} {'is the current stage' if is_current else 'does not exist yet'}"
        elif (found := self.earlier(name)) is not None:
            return found
        elif name.lower() in self.named:
            fault = f"stage {name} is not complete at this point"
        if fault:
            raise dockerfile.error(
                instruction, f"--from: {fault}", near=name, hint="name an earlier stage"
            )
        return name


@dataclass(frozen=True, slots=True)
class StageGraph:
    """``arguments``: each global ARG with its value, or None."""

    arguments: tuple[tuple[Arg, str, str | None], ...]
    stages: tuple[Stage, ...]

    def target(self, name: str, option: str = "--target") -> Stage:
        """Return the stage of that name or number, the last one for ""; raise UsageError."""
        if not name:
            return self.stages[-1]
        if is_stage_number(name) and int(name) < len(self.stages):
            return self.stages[int(name)]
        for stage in reversed(self.stages):  # of two stages of one name, the later one counts
            if stage.start.alias == name.lower():
                return stage
        names = [stage.start.alias for stage in self.stages if stage.start.alias]
        shown = " ".join(stage.start.alias or str(stage.index) for stage in self.stages)
        close = did_you_mean(name.lower(), names)
        known = f"the stages are: {shown}"
        raise UsageError(f"{option}: no such stage: {name}", f"{close} {known}" if close else known)

    def needed(self, target: Stage | None = None) -> list[Stage]:
        """Return the stages that ``target`` (by default the last) needs, and itself, in order."""
        wanted = {(target or self.stages[-1]).index}
        for stage in reversed(self.stages):
            if stage.index in wanted:
                wanted |= stage.needs()
        return [stage for stage in self.stages if stage.index in wanted]


def is_stage_number(name: str) -> bool:
    """Tell whether ``name`` can be the number of a stage."""
    return name.isascii() and name.isdigit() and len(name) <= _DIGITS_LIMIT


def context_key(name: str) -> str:
    """Return the common form of all spellings of a name that a context can have."""
    name = name.lower().removeprefix("docker.io/").removeprefix("library/")
    return name.removesuffix(":latest")


def stage_graph(
    dockerfile: Dockerfile, scope: GlobalScope, contexts: Mapping[str, NamedContext] | None = None
) -> StageGraph:
    """Divide a Dockerfile into stages; declare its global ARGs in ``scope``.

    ``contexts`` take precedence over the stages and images of their names; their keys come from
    ``context_key``.

    Raises DockerfileError if substitution leaves nothing of a FROM, or if COPY --from names a stage
    that does not exist yet.
    """
    arguments: list[tuple[Arg, str, str | None]] = []
    parts: list[list[Instruction]] = []
    for instruction in dockerfile.instructions:
        if isinstance(instruction, Arg | From):
            scope.declared.update(name for name, _ in instruction.variables)
        if isinstance(instruction, From):
            parts.append([instruction])
        elif parts:
            parts[-1].append(instruction)
        elif isinstance(instruction, Arg):
            expanded = dockerfile.expand(instruction, scope.values)
            for name, default in expanded.variables:
                value = scope.declare(name, default)
                if not scope.has_room(value or ""):
                    raise dockerfile.error(instruction, TOO_LARGE)
                arguments.append((instruction, name, value))

    contexts = contexts or {}
    stages: list[Stage] = []
    named = _names_of(parts)
    for index, (start, *instructions) in enumerate(parts):
        assert isinstance(start, From)
        expanded_start = dockerfile.expand(start, scope.values)
        image = expanded_start.image_text
        if not image:
            raise dockerfile.error(
                start,
                "the image's name is empty after substitution",
                near=start.image_text,
                hint="give the ARG a default before the first FROM, or use --build-arg",
            )
        known = StageNames(index, named, contexts)
        stage = known.earlier(image)
        base: Base = contexts.get(context_key(image), image if stage is None else stage)
        body = tuple(instructions)
        if start.alias in contexts:  # the context replaces the whole stage
            base, body = contexts[start.alias], ()
        sources = tuple(
            known.resolve(dockerfile, instruction, name)
            for instruction in body
            for name in named_sources(dockerfile, instruction)
        )
        stages.append(Stage(index, expanded_start, base, body, known, sources))
    return StageGraph(tuple(arguments), tuple(stages))


def named_sources(dockerfile: Dockerfile, instruction: Instruction) -> list[str]:
    """Return the names in ``from`` of an instruction's flags; raise DockerfileError."""
    if isinstance(instruction, OwnInstruction):
        return list(instruction.sources)
    if isinstance(instruction, Copy):
        return [instruction.from_] if instruction.from_ else []
    if isinstance(instruction, Run):
        try:
            return [name for text in instruction.mounts if (name := source_of_mount(text))]
        except MountSyntaxError as error:
            raise dockerfile.error(
                instruction, error.message, near="--mount", hint=error.hint
            ) from error
    return []


def _names_of(parts: Sequence[Sequence[Instruction]]) -> dict[str, list[int]]:
    """Return the stages of each name, in order."""
    named: dict[str, list[int]] = {}
    for index, (start, *_) in enumerate(parts):
        if isinstance(start, From) and start.alias:
            named.setdefault(start.alias, []).append(index)
    return named
