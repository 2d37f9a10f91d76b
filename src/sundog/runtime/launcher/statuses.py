"""The exit statuses of ``ch-run``: Charliecloud's, those of podman(1), or those of Apptainer.

``$SUNDOG_STATUSES`` is ``podman`` if ``sundog`` starts ``ch-run``, and ``apptainer:LEVEL`` if
``sundog apptainer`` does: see ``messages``.  It is a variable and no option,
because the compiled ``ch-run`` hands over a start with an option that it does not know.
"""

from __future__ import annotations

import errno

from sundog.errors import EXIT_EXEC, EXIT_RUN, EXIT_RUN_USAGE
from sundog.runtime.launcher.messages import ApptainerMessages, Messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.variables import Environment

STATUSES_VARIABLE = b"SUNDOG_STATUSES"
PODMAN_WORD = b"podman"
APPTAINER_WORD = b"apptainer"


class Statuses:
    """The statuses of one program.

    failed          the program itself failed
    usage           its command line is wrong
    not_executable  the command can't be executed
    not_found       the command does not exist
    """

    __slots__ = ("failed", "not_executable", "not_found", "usage")

    def __init__(self, failed: int, usage: int, not_executable: int, not_found: int) -> None:
        self.failed = failed
        self.usage = usage
        self.not_executable = not_executable
        self.not_found = not_found

    def of_execve(self, number: int) -> int:
        """Return the status for a command that execve(2) refused with the errno ``number``."""
        is_missing = number in (errno.ENOENT, errno.ENOTDIR)
        return self.not_found if is_missing else self.not_executable


_CH_RUN_STATUSES = Statuses(EXIT_RUN, EXIT_RUN_USAGE, EXIT_EXEC, EXIT_EXEC)
PODMAN_STATUSES = Statuses(125, 125, 126, 127)
APPTAINER_STATUSES = Statuses(255, 255, 255, 255)
_BY_WORD = {PODMAN_WORD: PODMAN_STATUSES, APPTAINER_WORD: APPTAINER_STATUSES}


def chosen_statuses(environment: Environment) -> Statuses:
    """Return the statuses that the caller asks for in its ``environment``."""
    word, _, _ = (environment.get(STATUSES_VARIABLE) or b"").partition(b":")
    return _BY_WORD.get(word, _CH_RUN_STATUSES)


def chosen_messages(environment: Environment) -> Messages:
    """Return what prints messages in the form that the caller asks for."""
    word, _, level = (environment.get(STATUSES_VARIABLE) or b"").partition(b":")
    if word != APPTAINER_WORD:
        return Messages()
    return ApptainerMessages(int(level) if level.isdigit() else ApptainerMessages.INFO)
