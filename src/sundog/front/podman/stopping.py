"""The end of a container by ``sundog stop``: its signal, and the seconds until SIGKILL.

Specification: podman-run(1), --stop-signal and --stop-timeout; podman-stop(1); signal(7).
"""

from __future__ import annotations

import signal

from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.options import Line

STOP_SECONDS = 10  # podman-stop(1)
_REAL_TIME = ("RTMIN", "RTMAX")
_DIGITS_LIMIT = 9
_SIGNAL_LIMIT = 32  # characters
_SIGNALS_HINT = "kill -l lists them"


def check_stopping(line: Line) -> None:
    """Raise UsageError if --stop-signal or --stop-timeout of a line can't be."""
    given = line.last("stop-signal")
    if given:
        signal_number(given, "--stop-signal")
    whole_number(line.last("stop-timeout"), "--stop-timeout")


def signal_number(text: str, option: str, hint: str = _SIGNALS_HINT) -> int:
    """Return the number of a signal: TERM, SIGTERM, 15 or SIGRTMIN+3.  Raises UsageError."""
    name = text.upper().removeprefix("SIG")
    base, plus, offset = name.partition("+" if "+" in name else "-")
    found = -1
    if len(text) <= _SIGNAL_LIMIT and text.isascii():
        if text.isdigit():
            found = int(text)
        elif base in _REAL_TIME and (offset.isdigit() or not plus):
            found = signal.Signals[f"SIG{base}"] + int(f"{plus}{offset or 0}")
        elif f"SIG{name}" in signal.Signals.__members__:
            found = signal.Signals[f"SIG{name}"]
    if found not in signal.valid_signals():
        raise UsageError(f"{option} {text[:_SIGNAL_LIMIT]}: no such signal", hint)
    return found


def whole_number(text: str | None, option: str) -> int | None:
    """Return the number of an option, None without one.  Raises UsageError."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_LIMIT):
        raise UsageError(f"{option} {text}: not a number", "it is 0 or more")
    return int(text)
