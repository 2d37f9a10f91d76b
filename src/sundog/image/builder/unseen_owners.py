"""Say before a build that its RUN instructions record no owners, if USER makes these matter.

Under ``--force=seccomp``, chown(1) does nothing and useradd(8) makes a home directory of root.
"""

from __future__ import annotations

import re

from sundog.image.builder.user import is_root
from sundog.image.dockerfile.instructions import Run, User

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sundog.image.builder.force import Force
    from sundog.image.builder.report import Report
    from sundog.image.dockerfile.instructions import Instruction

_GIVING = re.compile(r"\b(?:chown|useradd|mkdir)\b")


def note_unseen_owners(instructions: Iterable[Instruction], force: Force, report: Report) -> None:
    """Report in one line that a user of ``instructions`` may not own what RUN gives to that user.

    Does nothing under an emulation that records owners, or that gives nothing away.
    """
    if not force.seccomp:
        return
    user: User | None = None
    given: dict[str, None] = {}
    for instruction in instructions:
        match instruction:
            case User() if not is_root(instruction.user):
                user = user or instruction
            case Run():
                texts = (*instruction.args, *(each.content for each in instruction.heredocs))
                given |= dict.fromkeys(word for text in texts for word in _GIVING.findall(text))
    if user is not None and given:
        report.info(
            f"USER {user.user} (line {user.line}) and {', '.join(given)}: --force=seccomp records "
            "no owners, so --force=notify is better for what that user has to write to"
        )
