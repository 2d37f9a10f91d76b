"""What ``ch-run`` inherited, before the shell and the interpreter in front of it changed it.

The command is to find the world that the caller of ``ch-run`` made.  What happened to that:

* Python ignores SIGPIPE and SIGXFSZ.  The stub, a shell script, tells which of them were ignored
  when it was started; the others get their default action back.  So does SIGINT, which Python
  would turn into an exception.
* Python sets LC_CTYPE where the locale is "C" (PEP 538).  The kernel still knows the environment
  that Python was started with.
* The shell sets PWD where it is not set, and bash and busybox SHLVL.  If that is all there is, the
  environment was empty, and a SHLVL of 0 was bash's idea.  PWD added to an environment that holds
  other variables stays: it cannot be told from one that was there.  busybox counts SHLVL up.
* bash drops ``_``, PS1 and an OLDPWD that is none; dash and busybox drop variables whose names are
  no identifiers, such as the functions that bash exports.  They are lost.

Floor 0.
"""

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

SHELL_VARIABLES = frozenset((b"PWD", b"OLDPWD", b"SHLVL"))

# What the stub tells in letters: which signals were ignored, and that bash runs it.
IGNORED_SIGNALS = (("p", SIGPIPE), ("x", SIGXFSZ))
IS_BASH = "b"


def restore_signals(told: str) -> None:
    """Give the signals that Python handles the action that they had."""
    for letter, number in IGNORED_SIGNALS:
        if letter not in told:
            signal(number, SIG_DFL)
    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, SIG_DFL)


def restore_environment(environment: dict[bytes, bytes], told: str | None) -> None:
    """Undo in ``environment`` what was done to it; ``told`` is None where there was no shell."""
    if environment.get(b"LC_CTYPE") in COERCED_LOCALES:
        restore_locale(environment)
    if told is not None:
        if IS_BASH in told and environment.get(b"SHLVL") == b"0":
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
