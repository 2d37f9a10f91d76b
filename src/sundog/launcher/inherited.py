"""What ``ch-run`` inherited, before the shell and the interpreter in front of it changed it.

The command is to find the world that the caller of ``ch-run`` made.  What happened to that:

* Python ignores SIGPIPE and SIGXFSZ.  The stub, a shell script, tells which of them were ignored
  when it was started; the others get their default action back.  So does SIGINT, which Python
  would turn into an exception.
* Python sets LC_CTYPE where the locale is "C" (PEP 538).  The kernel still knows the environment
  that Python was started with.
* The shell sets PWD where it is not set, bash also ``_`` and SHLVL.  If these are all there is, the
  environment was empty; bash's ``_`` gets back the value that the caller's shell gave it; and a
  SHLVL of 0 was bash's idea.  PWD added to an environment that holds other variables stays: it
  cannot be told from one that was there.
* dash and busybox drop variables whose names are no identifiers, such as the functions that bash
  exports.  They are lost.

Floor 0.
"""

import sys
from _signal import (  # type: ignore[import-not-found]
    SIG_DFL,
    SIGINT,
    SIGPIPE,
    SIGXFSZ,
    default_int_handler,
    getsignal,
    signal,
)

# What Python makes of the locale "C": PEP 538.
COERCED_LOCALES = (b"C.UTF-8", b"C.utf8", b"UTF-8")

SHELL_VARIABLES = frozenset((b"PWD", b"OLDPWD", b"SHLVL", b"_"))

# How the stub names a signal that was ignored when it started, and the signal.
PYTHON_IGNORES = (("p", SIGPIPE), ("x", SIGXFSZ))


def encode_text(text: str) -> bytes:
    """Return the bytes that Python decoded to ``text``: an argument, a name of the host's.

    What os.fsencode does, without the millisecond that importing ``os`` takes.
    """
    return text.encode(sys.getfilesystemencoding(), "surrogateescape")


def restore_signals(ignored: str) -> None:
    """Give SIGPIPE and SIGXFSZ the action they had, given the letters of those ``ignored``."""
    for letter, number in PYTHON_IGNORES:
        if letter not in ignored:
            signal(number, SIG_DFL)
    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, SIG_DFL)


def restore_environment(environment: dict[bytes, bytes], program: bytes = b"") -> None:
    """Undo in ``environment`` what was done to it since ``program``, the stub, was called.

    Without ``program`` no stub was there, and so no shell.
    """
    if environment.get(b"LC_CTYPE") in COERCED_LOCALES:
        restore_locale(environment)
    if not program:
        return
    if environment.get(b"_") == encode_text(sys.executable):
        environment[b"_"] = program
        if environment.get(b"SHLVL") == b"0":
            del environment[b"SHLVL"]
    if environment.keys() <= SHELL_VARIABLES:
        environment.clear()


def restore_locale(environment: dict[bytes, bytes]) -> None:
    """Give LC_CTYPE the value with which the interpreter was started, or take it away."""
    with open("/proc/self/environ", "rb") as file:
        started_with = file.read().split(b"\0")
    del environment[b"LC_CTYPE"]
    for variable in started_with:
        name, _, value = variable.partition(b"=")
        if name == b"LC_CTYPE":
            environment[name] = value
