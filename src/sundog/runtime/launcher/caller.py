"""The signals and the environment of ``ch-run``'s caller.

The command must get what the caller of ``ch-run`` set up.  A shell script (the stub) and Python run
before this module, and they change it:

* Python ignores SIGPIPE and SIGXFSZ.  The stub says which of them the caller ignored; the command
  gets the default action of the others back.  SIGINT gets it back now: Python would raise an
  exception.
* The shell drops, changes and adds variables.  The stub's child keeps them; see ``kernel.stub``.
  Without the stub, the kernel still has the environment with which Python started.
"""

from __future__ import annotations

from posix import environ

from sundog.base.cpython import (
    SIG_DFL,
    SIGINT,
    SIGPIPE,
    default_int_handler,
    getsignal,
    signal,
)
from sundog.base.kernel.files import fail_with_efbig
from sundog.base.kernel.stub import split_strings, strings_of_caller
from sundog.runtime.container.variables import Environment
from sundog.runtime.launcher.messages import Messages

# The stub's letters for the signals that the caller ignored.
_IGNORED_SIGPIPE, _IGNORED_SIGXFSZ = "p", "x"

_LOST_HINT = "the start needs cat and one of the descriptors 3 to 9 to keep all variables"


def restore_signals(told: str) -> None:
    """Undo what Python did to the actions of signals; ``told`` is the stub's first argument."""
    ignored, _, _ = told.partition(":")
    if _IGNORED_SIGPIPE not in ignored:
        signal(SIGPIPE, SIG_DFL)
    if _IGNORED_SIGXFSZ not in ignored:
        fail_with_efbig()
    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, SIG_DFL)


def inherited_environment(told: str | None) -> Environment:
    """Return the environment of the caller.

    ``told`` is the stub's first argument, or None without a stub.  Call the function only once: it
    closes the stub's descriptor and waits for the stub's child.
    """
    strings = strings_of_caller(told or "")
    if strings is None:
        if told is not None:
            Messages().warning(
                f"variables whose names are no shell identifiers may be lost: {_LOST_HINT}"
            )
        strings = _known_to_kernel()
    return Environment(strings)


def _known_to_kernel() -> list[bytes]:
    """Return the environment strings with which the interpreter started."""
    try:
        with open("/proc/self/environ", "rb") as file:
            return split_strings(file.read())
    except OSError:  # no /proc: a container will fail, but --help must work
        return [name + b"=" + value for name, value in environ.items()]
