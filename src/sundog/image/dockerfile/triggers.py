"""ONBUILD triggers: the texts in a base image's configuration, to instructions.

Specification: the Dockerfile reference, “ONBUILD”.  A trigger acts as if it were written after the
FROM that sets it off.  So its place is that of the FROM.
"""

from __future__ import annotations

from dataclasses import replace

from sundog.errors import DockerfileError
from sundog.image.dockerfile.instructions import From, Maintainer, Onbuild
from sundog.image.dockerfile.parse import INSTRUCTIONS_LIMIT, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.dockerfile.instructions import Instruction
    from sundog.image.dockerfile.parse import Dockerfile

_NOT_TRIGGERS = (From, Maintainer, Onbuild)


def parse_triggers(
    dockerfile: Dockerfile, start: From, texts: Sequence[str]
) -> tuple[Instruction, ...]:
    """Return the instructions that ``start`` of ``dockerfile`` sets off.

    Raises DockerfileError, at the FROM, for an invalid trigger.
    """
    if len(texts) > INSTRUCTIONS_LIMIT:
        message = f"{start.image_text} has more than {INSTRUCTIONS_LIMIT} ONBUILD triggers"
        raise dockerfile.error(start, message, near=start.image_text)
    return tuple(_trigger(dockerfile, start, text) for text in texts)


def _trigger(dockerfile: Dockerfile, start: From, text: str) -> Instruction:
    try:
        # Triggers use the default escape character; FROM scratch gives this one a stage.
        instructions = parse(f"FROM scratch\n{text}", path="ONBUILD").instructions[1:]
    except DockerfileError as error:
        raise _bad(dockerfile, start, text, error.message) from error
    if len(instructions) != 1:
        raise _bad(dockerfile, start, text, "not one instruction")
    (instruction,) = instructions
    if isinstance(instruction, _NOT_TRIGGERS):
        raise _bad(dockerfile, start, text, f"{instruction.name} can't be a trigger")
    place = replace(instruction.place, line=start.line, end_line=start.place.end_line)
    return replace(instruction, place=place)


def _bad(dockerfile: Dockerfile, start: From, text: str, reason: str) -> DockerfileError:
    message = f"ONBUILD trigger of {start.image_text}: {text.splitlines()[0] if text else ''}"
    return dockerfile.error(start, f"{message}: {reason}", near=start.image_text)
