"""The stages of a Dockerfile and what each of them builds on.

Specification: the Dockerfile reference, “FROM”, and “Use multi-stage builds”: a stage's name or
number refers to an earlier stage, anything else to an image.  Stages that the last one does not
need are not built; nothing here says in which order the needed ones are, except that what a stage
needs has a lower number.
"""

from __future__ import annotations

from dataclasses import dataclass

from sundog.dockerfile.instructions import Arg, Copy, From

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.build.scope import GlobalScope
    from sundog.dockerfile.instructions import Instruction
    from sundog.dockerfile.parse import Dockerfile

    # An earlier stage's index, or the reference of an image.
    Base = int | str

SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: ``start`` is its FROM after substitution, ``copied`` what its COPY --from name."""

    index: int
    start: From
    base: Base
    instructions: tuple[Instruction, ...]
    copied: Mapping[str, Base]

    def needs(self) -> set[int]:
        """Return the stages that this one is made from."""
        return {base for base in (self.base, *self.copied.values()) if isinstance(base, int)}


@dataclass(frozen=True, slots=True)
class StageGraph:
    """``arguments``: each global ARG with its value, None where it has none."""

    arguments: tuple[tuple[Arg, str, str | None], ...]
    stages: tuple[Stage, ...]

    def needed(self) -> list[Stage]:
        """Return the stages that the last one needs and itself, in their order."""
        wanted = {len(self.stages) - 1}
        for stage in reversed(self.stages):
            if stage.index in wanted:
                wanted |= stage.needs()
        return [stage for stage in self.stages if stage.index in wanted]


def stage_graph(dockerfile: Dockerfile, scope: GlobalScope) -> StageGraph:
    """Divide a Dockerfile into stages; declares its global ARGs in ``scope``.

    Raises DockerfileError where a variable leaves nothing of a FROM, or COPY --from names a stage
    that is not there yet.
    """
    arguments: list[tuple[Arg, str, str | None]] = []
    parts: list[list[Instruction]] = []
    for instruction in dockerfile.instructions:
        if isinstance(instruction, Arg):
            scope.declared.update(name for name, _ in instruction.variables)
        if isinstance(instruction, From):
            parts.append([instruction])
        elif parts:
            parts[-1].append(instruction)
        elif isinstance(instruction, Arg):
            expanded = dockerfile.expand(instruction, scope.values)
            for name, default in expanded.variables:
                arguments.append((instruction, name, scope.declare(name, default)))

    names: dict[str, int] = {}
    stages: list[Stage] = []
    later = _names_of(parts)
    for index, (start, *instructions) in enumerate(parts):
        assert isinstance(start, From)
        expanded_start = dockerfile.expand(start, scope.values)
        image = expanded_start.image_text
        if not image:
            raise dockerfile.error(
                start,
                "nothing is left of the image's name after substitution",
                near=start.image_text,
                hint="give the ARG a default before the first FROM, or use --build-arg",
            )
        copied = {
            instruction.from_: _copy_source(dockerfile, instruction, index, names, later)
            for instruction in instructions
            if isinstance(instruction, Copy) and instruction.from_
        }
        base = names.get(image.lower(), image)
        stages.append(Stage(index, expanded_start, base, tuple(instructions), copied))
        if start.alias:
            names[start.alias] = index
    return StageGraph(tuple(arguments), tuple(stages))


def _names_of(parts: Sequence[Sequence[Instruction]]) -> set[str]:
    return {start.alias for start, *_ in parts if isinstance(start, From) and start.alias}


def _copy_source(
    dockerfile: Dockerfile, copy: Copy, index: int, earlier: Mapping[str, int], all_names: set[str]
) -> Base:
    """Return what ``--from`` names in the stage ``index``; raise DockerfileError."""
    name = copy.from_
    fault = ""
    if name.isascii() and name.isdigit():
        if int(name) < index:
            return int(name)
        is_current = int(name) == index
        fault = f"stage {name} {'is the current stage' if is_current else 'does not exist yet'}"
    elif name.lower() in earlier:
        return earlier[name.lower()]
    elif name.lower() in all_names:
        fault = f"stage {name} is not complete at this point"
    if fault:
        raise dockerfile.error(
            copy, f"--from: {fault}", near=name, hint="only earlier stages can be copied from"
        )
    return name
