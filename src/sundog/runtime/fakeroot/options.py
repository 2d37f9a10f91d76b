"""The command line of ``sundog-fakeroot``, which is that of fakeroot(1).

Options end at the first operand.

Values are bytes.
"""

from __future__ import annotations

from sundog.base.kernel.libc import printable
from sundog.errors import UsageError
from sundog.runtime.launcher.getopt import AMBIGUOUS, NEEDLESS, UNKNOWN, options_of_word

# Short name, long name, the argument or "", and what the option does.
FAKEROOT_OPTIONS = (
    ("s", "", "FILE", "save the records of owners, modes and devices in FILE at the end"),
    ("i", "", "FILE", "load the records in FILE at the start; FILE may be missing"),
    ("u", "unknown-is-real", "", "show the real owner of files without a record, not root"),
    ("l", "lib", "LIB", "ignored: there is no library"),
    ("f", "faked", "FAKED", "ignored: the supervisor takes the place of faked"),
    ("b", "fd-base", "FD", "ignored: the supervisor uses no descriptors of COMMAND"),
    ("h", "help", "", "print this help"),
    ("v", "version", "", "print the version"),
)
_COLUMN = 28
SUMMARY = "run a command as mock root"


class FakerootLine:
    """The options and the command of one ``sundog-fakeroot``."""

    __slots__ = ("command", "help", "load", "real", "save", "version")

    def __init__(self, arguments: list[bytes]) -> None:
        """Read ``arguments``.  Raises UsageError."""
        given: dict[str, bytes | None] = {}
        self.command: list[bytes] = []
        words = iter(arguments)
        for word in words:
            if word == b"--":
                self.command = list(words)
            elif word.startswith(b"-") and word != b"-":
                read = options_of_word(word, words, FAKEROOT_OPTIONS, _fakeroot_error)
                for (letter, _, _, _), value in read:
                    if letter == "b" and value is not None and not value.isdigit():
                        fault = f"-b {printable(value)}: not the number of a descriptor"
                        raise _fakeroot_usage(fault)
                    given[letter] = value
            else:
                self.command = [word, *words]
        self.load, self.save = given.get("i"), given.get("s")
        self.real, self.help, self.version = "u" in given, "h" in given, "v" in given


def _fakeroot_error(fault: str, name: str, _possible: list[str]) -> UsageError:
    """Return the error for an option."""
    texts = {UNKNOWN: "is unknown", AMBIGUOUS: "is ambiguous", NEEDLESS: "takes no argument"}
    return _fakeroot_usage(f"option {name} {texts.get(fault, 'needs an argument')}")


def _fakeroot_usage(text: str) -> UsageError:
    """Return the exception for a wrong command line."""
    return UsageError(text, "see: sundog-fakeroot -h; write options for COMMAND after COMMAND")


def fakeroot_help() -> str:
    """Return the text of --help."""
    lines = [
        "usage: sundog-fakeroot [OPTION...] [--] [COMMAND [ARG...]]",
        "",
        "Run COMMAND, or else $SHELL, as mock root: it can give its files to any user, and make",
        "devices.  A drop-in for fakeroot(1) that needs no library.",
        "",
    ]
    for short, long, argument, text in FAKEROOT_OPTIONS:
        names = f"-{short}" + (f", --{long}" if long else "")
        lines.append(f"  {f'{names} {argument}'.rstrip():{_COLUMN}}{text}")
    lines += ["", "Exit status: COMMAND's; 1 if sundog-fakeroot fails, 126 if COMMAND cannot be"]
    lines += ["executed, 127 if it is not found."]
    return "\n".join(lines) + "\n"
