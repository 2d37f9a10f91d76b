"""The command line of ``ch-run-oci``, in the dialect that callers of runc and crun speak.

Options have one or two dashes, and their values stand in the same word after ``=`` or in the next
word.  Options of other runtimes that have no effect here are accepted: callers pass them
unasked.
"""

from __future__ import annotations

from sundog.errors import UsageError
from sundog.front.pflag import NO_ARGUMENT, TRUE, UNKNOWN, scan_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FLAG, VALUE, LIST = "", "VALUE", "LIST"

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


class Arguments:
    """A command line: the ``command``, its ``operands``, and the options of both parts."""

    __slots__ = ("_lists", "_rest", "_values", "command", "operands")

    def __init__(self, words: Iterable[str]) -> None:
        """Read the options before the command, and its name: "" without one.  Raises UsageError."""
        self.operands: list[str] = []
        self._values: dict[str, str] = {}
        self._lists: dict[str, list[str]] = {}
        self.command, *self._rest = self._read(words, GLOBAL, "", permute=False) or [""]

    def read_command(self) -> None:
        """Read the words after the command.  Raises UsageError."""
        command = self.command
        if command in UNSUPPORTED:
            raise UsageError(
                f"{command}: not supported: it needs cgroups or CRIU, and so privileges",
                f"the commands are: {' '.join(COMMANDS)}",
            )
        if command not in COMMANDS:
            raise UsageError(
                f"unknown command: {command}", f"the commands are: {' '.join(COMMANDS)}"
            )
        kinds, least, most = COMMANDS[command]
        # The words after the ID of exec are the container's command.
        self.operands = self._read(self._rest, kinds, command, permute=command != "exec")
        if not least <= len(self.operands) <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            raise UsageError(
                f"{command}: {len(self.operands)} operands, expected {wanted}", "ch-run-oci --help"
            )

    def has(self, name: str) -> bool:
        """Tell whether a flag is set."""
        return self._values.get(name) == TRUE

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

    def _read(
        self, words: Iterable[str], kinds: dict[str, str], part: str, *, permute: bool
    ) -> list[str]:
        """Take the options of a ``part`` ("" or a command) out of ``words``; return the operands.

        Without ``permute``, the first operand ends the options.
        """
        table = {f"--{name}": (name, kind) for name, kind in kinds.items()}
        for letter, name in _LETTERS.get(part, {}).items():
            table[f"-{letter}"] = table[f"--{name}"]

        def complain(fault: str, name: str, word: str) -> UsageError:
            if fault == UNKNOWN:
                return UsageError(f"unknown option: {word}", "ch-run-oci --help")
            shown = f"--{table[name][0]}"
            if fault == NO_ARGUMENT:
                return UsageError(f"{shown}: the value is missing", "ch-run-oci --help")
            return UsageError(f"{shown}: neither true nor false: {word.partition('=')[2]}")

        operands = []
        for _, option, value in scan_words(words, table, complain, permute=permute, one_dash=True):
            if option is None:
                operands.append(value)
            elif kinds[option] == LIST:
                self._lists.setdefault(option, []).append(value)
            else:
                self._values[option] = value
        return operands
