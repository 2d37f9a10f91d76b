"""A check of this machine, and its outcome.

A check does what Sundog does, and looks whether that worked.  It runs in a child process, so that
it may enter namespaces or install a filter.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sundog.base.kernel.advice import hint_of, names_in
from sundog.base.kernel.libc import kernel_error
from sundog.errors import ADMINISTRATOR, FuseRefused, Hint, KernelError, NotHere, SundogError
from sundog.runtime.process.child import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

OK, FAILED, NOT_HERE = "ok", "failed", "not here"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a check.

    detail   what was found if ``state`` is OK; the cause if not
    hint     what to do, "" if nothing
    command  the one command that repairs it, "" if none is known
    who      who must run that command: USER or ADMINISTRATOR, "" if nothing is to do
    errno    the kernel's error number, 0 if it was not the kernel
    """

    name: str
    state: str
    detail: str = ""
    hint: Hint = Hint("")  # noqa: RUF009 - immutable
    command: str = ""
    who: str = ""
    errno: int = 0
    seconds: float = 0.0

    @property
    def advice(self) -> str:
        """The hint without the command."""
        return self.hint.advice

    @property
    def remedy(self) -> str:
        """The command that repairs it, and who must run it, in a sentence; "" if none is known."""
        who = "the administrator" if self.who == ADMINISTRATOR else "you"
        return f"{who} can run: {self.command}" if self.command else ""


@dataclass(frozen=True, slots=True)
class Check:
    """A check: ``act`` returns a detail, or raises SundogError, OSError or NotHere.

    ``is_required``: Sundog can't run a container without it.  ``in_child``: ``act`` needs a process
    of its own.
    """

    name: str
    act: Callable[[], str]
    is_required: bool = False
    in_child: bool = True


def outcomes(checks: Iterable[Check]) -> Iterator[Outcome]:
    """Make each check in turn, and yield its outcome."""
    return map(attempt, checks)


def attempt(check: Check) -> Outcome:
    """Make a check."""
    began = time.monotonic()
    state, detail, hint, number = OK, "", Hint(""), 0
    try:
        if check.in_child:
            detail = str(Child(lambda _tie: _tried(check)).result())
        else:
            detail = _tried(check)
    except SundogError as error:
        state = NOT_HERE if isinstance(error, NotHere) else FAILED
        detail, hint = error.message, error.hint
        number = error.errno if isinstance(error, KernelError | FuseRefused) else 0
    seconds = round(time.monotonic() - began, 3)
    who = hint.who if hint else ""
    return Outcome(check.name, state, detail, hint, hint.command, who, number, seconds)


def _tried(check: Check) -> str:
    """Make a check in this process, where the cause of a failure shows; raise SundogError."""
    try:
        return check.act()
    except NotHere:
        raise
    except SundogError as error:
        error.hint = hint_of(error)
        raise
    except OSError as error:
        name = b"".join(names_in(error)[-1:])
        refused = kernel_error("open", name, error.errno or 0)
        refused.hint = hint_of(refused)
        refused.message = refused.message if name else str(error.strerror)
        raise refused from None
