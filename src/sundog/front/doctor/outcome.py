"""A check of this machine, and its outcome.

A check does what Sundog does, and looks whether that worked.  It runs in a child process, so that
it may enter namespaces or install a filter.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from sundog.base.kernel.libc import kernel_error
from sundog.base.kernel.refusal import explain
from sundog.errors import FuseRefused, KernelError, SundogError
from sundog.runtime.process.child import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

OK, FAILED, NOT_HERE = "ok", "failed", "not here"

USER, ADMINISTRATOR = "user", "administrator"
# How hints introduce the one command that repairs it: those of ``kernel.refusal``, too.
_ASKS = "ask the administrator"
_INTRODUCTIONS = ((f"{_ASKS} for: ", ADMINISTRATOR), ("you can run: ", USER))


class NotHere(SundogError):
    """The machine does not have what a check is about, and Sundog does without it."""


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
    hint: str = ""
    command: str = ""
    who: str = ""
    errno: int = 0
    seconds: float = 0.0

    @property
    def advice(self) -> str:
        """The hint without the command."""
        for words, _ in _INTRODUCTIONS:
            before, found, _ = self.hint.partition(words)
            if found:
                return before.rstrip("; ")
        return self.hint

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
    except FuseRefused as error:
        return FAILED, error.message, error.hint, error.errno
    except SundogError as error:
        return FAILED, error.message, error.hint, 0
    except OSError as error:
        named = error.filename if isinstance(error.filename, bytes | str) else b""
        subject = os.fsencode(named)
        refused = kernel_error("open", subject, error.errno or 0)
        detail = refused.message if subject else str(error.strerror)
        return FAILED, detail, explain(refused), error.errno or 0


def for_administrator(command: str, advice: str = "") -> str:
    """Return the hint that an administrator repairs it with ``command``."""
    return _joined(advice, f"{_ASKS} for: {command}")


def for_user(command: str, advice: str = "") -> str:
    """Return the hint that the user repairs it with ``command``."""
    return _joined(advice, f"you can run: {command}")


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def _remedy(hint: str) -> tuple[str, str]:
    """Return the command in a hint, and who must run it."""
    if not hint:
        return "", ""
    for words, who in _INTRODUCTIONS:
        _, found, command = hint.partition(words)
        if found:
            return command, who
    return "", ADMINISTRATOR if _ASKS in hint else USER
