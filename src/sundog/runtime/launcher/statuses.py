"""The exit statuses of ``ch-run``: Charliecloud's, or those of podman(1) for ``sundog run``.

``$SUNDOG_STATUSES`` is ``podman`` if ``sundog`` starts ``ch-run``.  It is a variable and no option,
because the compiled ``ch-run`` hands over a start with an option that it does not know.
"""

from __future__ import annotations

import errno

from sundog.errors import EXIT_EXEC, EXIT_RUN, EXIT_RUN_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.variables import Environment

STATUSES_VARIABLE = b"SUNDOG_STATUSES"
PODMAN_WORD = b"podman"


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


def chosen_statuses(environment: Environment) -> Statuses:
    """Return the statuses that the caller asks for in its ``environment``."""
    is_podman = environment.get(STATUSES_VARIABLE) == PODMAN_WORD
    return PODMAN_STATUSES if is_podman else _CH_RUN_STATUSES
