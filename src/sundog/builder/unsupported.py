"""What the Dockerfile language has and this version cannot do yet: refused before anything is done.

Delete an entry here when ``executor`` learns it.
"""

from __future__ import annotations

from sundog.dockerfile.instructions import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sundog.dockerfile.instructions import Instruction
    from sundog.dockerfile.parse import Dockerfile

# (What is meant, the text near which the marker goes, what to do instead.)
Refusal = tuple[str, str, str]


def refuse_unsupported(dockerfile: Dockerfile, instructions: Iterable[Instruction]) -> None:
    """Raise DockerfileError for the first instruction that this version cannot do."""
    for instruction in instructions:
        for what, near, hint in _refusals(instruction):
            raise dockerfile.error(instruction, f"not supported yet: {what}", near=near, hint=hint)


def _refusals(instruction: Instruction) -> Iterator[Refusal]:
    match instruction:
        case Run():
            if instruction.devices:
                yield "RUN --device", "--device", "show the device's files with build -b SRC[:DST]"
