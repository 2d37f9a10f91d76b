"""The command line of ``sundog-fakeroot``, which is that of fakeroot(1).

Options end at the first operand.  Long options may be abbreviated: getopt_long(3).

Values are bytes.
"""

from sundog.base.kernel.libc import printable
from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

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
COLUMN = 28
SUMMARY = "run a command as mock root"


class FakerootLine:
    """The options and the command of one ``sundog-fakeroot``."""

    __slots__ = ("command", "help", "load", "real", "save", "version")

    def __init__(self, arguments: list[bytes]) -> None:
        """Read ``arguments``.  Raises UsageError."""
        self.save: bytes | None = None
        self.load: bytes | None = None
        self.real = self.help = self.version = False
        self.command: list[bytes] = []
        words = iter(arguments)
        for word in words:
            if word == b"--":
                self.command = list(words)
            elif word.startswith(b"--"):
                self._read_long(word[2:], words)
            elif word.startswith(b"-") and word != b"-":
                self._read_short(word[1:], words)
            else:
                self.command = [word, *words]

    def _read_long(self, word: bytes, words: "Iterator[bytes]") -> None:
        name, equals, value = word.partition(b"=")
        shown = printable(name)
        found = [row for row in FAKEROOT_OPTIONS if row[1].startswith(shown) and row[1] and shown]
        exact = [row for row in found if row[1] == shown]
        if len(exact or found) != 1:
            fault = "is ambiguous" if found else "is unknown"
            raise fakeroot_usage(f"option --{shown} {fault}")
        short, long, argument, _ = (exact or found)[0]
        if equals and not argument:
            raise fakeroot_usage(f"option --{long} takes no argument")
        if argument and not equals:
            value = next_word(words, f"--{long}")
        self._take(short, value)

    def _read_short(self, letters: bytes, words: "Iterator[bytes]") -> None:
        while letters:
            letter, letters = letters[:1], letters[1:]
            shown = printable(letter)
            found = [row for row in FAKEROOT_OPTIONS if row[0] == shown]
            if not found:
                raise fakeroot_usage(f"option -{shown} is unknown")
            if found[0][2]:
                self._take(shown, letters or next_word(words, f"-{shown}"))
                return
            self._take(shown, b"")

    def _take(self, short: str, value: bytes) -> None:
        if short == "s":
            self.save = value
        elif short == "i":
            self.load = value
        elif short == "u":
            self.real = True
        elif short == "b" and not value.isdigit():
            raise fakeroot_usage(f"-b {printable(value)}: not the number of a descriptor")
        elif short == "h":
            self.help = True
        elif short == "v":
            self.version = True


def next_word(words: "Iterator[bytes]", option: str) -> bytes:
    """Return the next word as the argument of ``option``.  Raises UsageError."""
    word = next(words, None)
    if word is None:
        raise fakeroot_usage(f"option {option} needs an argument")
    return word


def fakeroot_usage(text: str) -> UsageError:
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
        lines.append(f"  {f'{names} {argument}'.rstrip():{COLUMN}}{text}")
    lines += ["", "Exit status: COMMAND's; 1 if sundog-fakeroot fails, 126 if COMMAND cannot be"]
    lines += ["executed, 127 if it is not found."]
    return "\n".join(lines) + "\n"
