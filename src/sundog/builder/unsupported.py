"""Parts of the language that this version can't do yet: refuse them before a build starts.

Delete an entry here when ``executor`` learns it.
"""

from __future__ import annotations

from sundog.dockerfile.instructions import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sundog.dockerfile.instructions import Instruction
    from sundog.dockerfile.parse import Dockerfile

# (The unsupported part, the text near which the marker goes, what to do instead.)
Refusal = tuple[str, str, str]


def refuse_unsupported(dockerfile: Dockerfile, instructions: Iterable[Instruction]) -> None:
    """Raise DockerfileError for the first instruction that this version can't do."""
    for instruction in instructions:
        for what, near, hint in _refusals(instruction):
            raise dockerfile.error(instruction, f"not supported yet: {what}", near=near, hint=hint)


def _refusals(instruction: Instruction) -> Iterator[Refusal]:
    match instruction:
        case Run():
            if instruction.devices:
                yield "RUN --device", "--device", "show the device's files with build -b SRC[:DST]"
