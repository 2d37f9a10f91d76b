"""The command line of ``ch-run-oci``, in the dialect that callers of runc and crun speak.

Options have one or two dashes, and their values stand in the same word after ``=`` or in the next
word.  Options of other runtimes that have no effect here are accepted: callers pass them
unasked.
"""

from __future__ import annotations

from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

FLAG, VALUE, LIST = "flag", "value", "list"

GLOBAL = {
    "cgroup-manager": VALUE,
    "criu": VALUE,
    "debug": FLAG,
    "force": VALUE,
    "help": FLAG,
    "log": VALUE,
    "log-format": VALUE,
    "root": VALUE,
    "rootless": VALUE,
    "storage": VALUE,
    "systemd-cgroup": FLAG,
    "version": FLAG,
}
_MAKING = {
    "bundle": VALUE,
    "console-socket": VALUE,
    "no-new-keyring": FLAG,
    "no-pivot": FLAG,
    "pid-file": VALUE,
    "preserve-fds": VALUE,
}
# Each command's options, and its least and greatest number of operands.
COMMANDS: dict[str, tuple[dict[str, str], int, int]] = {
    "create": (_MAKING, 1, 1),
    "run": (_MAKING | {"detach": FLAG, "keep": FLAG, "no-subreaper": FLAG}, 1, 1),
    "start": ({}, 1, 1),
    "state": ({}, 1, 1),
    "kill": ({"all": FLAG}, 1, 2),
    "delete": ({"force": FLAG}, 1, 1),
    "exec": (
        {
            "additional-gids": LIST,
            "apparmor": VALUE,
            "cap": LIST,
            "cgroup": VALUE,
            "console-socket": VALUE,
            "cwd": VALUE,
            "detach": FLAG,
            "env": LIST,
            "ignore-paused": FLAG,
            "no-new-privs": FLAG,
            "pid-file": VALUE,
            "preserve-fds": VALUE,
            "process": VALUE,
            "process-label": VALUE,
            "tty": FLAG,
            "user": VALUE,
        },
        1,
        1 << 20,
    ),
    "list": ({"format": VALUE, "quiet": FLAG}, 0, 0),
    "ps": ({"format": VALUE}, 1, 1),
    "features": ({}, 0, 0),
}
_LETTERS = {
    "": {"h": "help", "v": "version"},
    "create": {"b": "bundle"},
    "run": {"b": "bundle", "d": "detach"},
    "kill": {"a": "all"},
    "delete": {"f": "force"},
    "exec": {"d": "detach", "e": "env", "p": "process", "t": "tty", "u": "user"},
    "list": {"f": "format", "q": "quiet"},
    "ps": {"f": "format"},
}
# Commands of other runtimes that need cgroups or CRIU.
UNSUPPORTED = ("checkpoint", "events", "pause", "restore", "resume", "update")
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


class Arguments:
    """A command line: the ``command``, its ``operands``, and the options of both parts."""

    __slots__ = ("_lists", "_values", "command", "operands")

    def __init__(self) -> None:
        self.command = ""
        self.operands: list[str] = []
        self._values: dict[str, str] = {}
        self._lists: dict[str, list[str]] = {}

    def has(self, name: str) -> bool:
        """Tell whether a flag is set."""
        return self._values.get(name) == "true"

    def value(self, name: str) -> str | None:
        """Return the value of an option, None without it."""
        return self._values.get(name)

    def values(self, name: str) -> list[str]:
        """Return the values of an option that may come several times."""
        return self._lists.get(name, [])

    def number(self, name: str, most: int) -> int:
        """Return the value of an option as a number, 0 without it.  Raises UsageError."""
        text = self._values.get(name, "0")
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= most):
            raise UsageError(f"--{name}: not a number from 0 to {most}: {text}")
        return int(text)

    def read_options(self, words: list[str], kinds: dict[str, str], part: str) -> None:
        """Take the options of a ``part`` ("" or a command) off the start of ``words``."""
        while words and words[0].startswith("-") and words[0] != "-":
            word = words.pop(0)
            if word == "--":
                return
            name, equals, value = word.lstrip("-").partition("=")
            if not word.startswith("--"):
                name = _LETTERS.get(part, {}).get(name, name)
            self._take(name, value if equals else None, words, kinds, word)

    def _take(
        self, name: str, value: str | None, words: list[str], kinds: dict[str, str], word: str
    ) -> None:
        kind = kinds.get(name)
        if kind is None:
            raise UsageError(f"unknown option: {word}", "ch-run-oci --help")
        if kind == FLAG:
            truth = _TRUTHS.get("true" if value is None else value)
            if truth is None:
                raise UsageError(f"--{name}: neither true nor false: {value}")
            self._values[name] = str(truth).lower()
            return
        if value is None:
            if not words:
                raise UsageError(f"--{name}: the value is missing", "ch-run-oci --help")
            value = words.pop(0)
        if kind == LIST:
            self._lists.setdefault(name, []).append(value)
        else:
            self._values[name] = value


def parse_global(words: list[str]) -> Arguments:
    """Take the options before the command, and the command, off ``words``.  Raises UsageError."""
    arguments = Arguments()
    arguments.read_options(words, GLOBAL, "")
    if words:
        arguments.command = words.pop(0)
    return arguments


def parse_command(arguments: Arguments, words: Sequence[str]) -> None:
    """Read the words after the command.  Raises UsageError."""
    command = arguments.command
    if command in UNSUPPORTED:
        raise UsageError(
            f"{command}: not supported: it needs cgroups or CRIU, and so privileges",
            f"the commands are: {' '.join(COMMANDS)}",
        )
    if command not in COMMANDS:
        raise UsageError(f"unknown command: {command}", f"the commands are: {' '.join(COMMANDS)}")
    kinds, least, most = COMMANDS[command]
    left = list(words)
    while left:
        arguments.read_options(left, kinds, command)
        if command == "exec":  # the rest is the container's command
            arguments.operands += left
            break
        arguments.operands += left[:1]
        del left[:1]
    if not least <= len(arguments.operands) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise UsageError(
            f"{command}: {len(arguments.operands)} operands, expected {wanted}", "ch-run-oci --help"
        )
