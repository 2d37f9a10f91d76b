"""A check of this machine, and its outcome.

A check does what Sundog does, and looks whether that worked.  It runs in a child process, so that
it may enter namespaces or install a filter.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sundog.container.child import Child
from sundog.errors import KernelError, SundogError
from sundog.kernel.libc import kernel_error
from sundog.kernel.refusal import explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

OK, FAILED, NOT_HERE = "ok", "failed", "not here"

USER, ADMINISTRATOR = "user", "administrator"
# How ``kernel.refusal`` introduces what only root can do.
_ASKS = "ask the administrator"
_COMMAND = "for: "


class NotHere(SundogError):
    """The machine does not have what a check is about, and Sundog does without it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check found.

    detail   what was found if ``state`` is OK; the cause if not
    hint     what to do, "" if nothing
    command  the one command that mends it, "" if none is known
    who      who must run that command: USER or ADMINISTRATOR, "" if nothing is to do
    errno    the kernel's error number, 0 if it was not the kernel
    """

    name: str
    state: str
    detail: str = ""
    hint: str = ""
    command: str = ""
    who: str = ""
    errno: int = 0
    seconds: float = 0.0


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
    found = Child(lambda _tie: _found(check)).result() if check.in_child else _found(check)
    assert isinstance(found, tuple)
    state, detail, hint, number = found
    command, who = _remedy(hint)
    seconds = round(time.monotonic() - began, 3)
    return Outcome(check.name, state, detail, hint, command, who, number, seconds)


def _found(check: Check) -> tuple[str, str, str, int]:
    """Return state, detail, hint and errno, as plain values."""
    try:
        return OK, check.act(), "", 0
    except NotHere as error:
        return NOT_HERE, error.message, error.hint, 0
    except KernelError as error:
        return FAILED, error.message, error.hint or explain(error), error.errno
    except SundogError as error:
        return FAILED, error.message, error.hint, 0
    except OSError as error:
        named = error.filename if isinstance(error.filename, bytes | str) else b""
        subject = named.encode() if isinstance(named, str) else named
        refused = kernel_error("open", subject, error.errno or 0)
        detail = refused.message if subject else str(error.strerror)
        return FAILED, detail, explain(refused), error.errno or 0


def _remedy(hint: str) -> tuple[str, str]:
    """Return the command in a hint, and who must run it."""
    if not hint:
        return "", ""
    who = ADMINISTRATOR if _ASKS in hint else USER
    _, found, command = hint.rpartition(_COMMAND)
    return (command if found else ""), who
