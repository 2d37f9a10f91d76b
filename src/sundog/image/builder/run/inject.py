"""Options inserted after certain commands of a RUN: ``--force-cmd``, and for apt by default.

apt drops its privileges to the user ``_apt`` and checks that it has lost them.  No emulation that
changes nothing can satisfy this check.  ``-o APT::Sandbox::User=root`` tells apt not to try.  So
does a file that $APT_CONFIG names, also where apt is in a script, or another program starts it; but
not behind ``env -i`` or ``sudo``, and not if the image has an $APT_CONFIG of its own.

Only a word in command position is a command: not an argument (``apt-get install apt``), a path, a
comment or part of a string.  Commands in a string (``sh -c '…'``, ``eval``) count, and so do
commands that other programs run (``env``, ``timeout``, ``xargs``, …).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from sundog.errors import UsageError
from sundog.image.builder.run.shell_commands import ShellText, simple_commands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Hook:
    """Insert ``arguments`` after each ``command``."""

    command: str
    arguments: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Hook:
        r"""Parse ``--force-cmd``'s ``CMD,ARG[,ARG…]``, where ``\x`` is x; raise UsageError."""
        fields = [""]
        escaped = False
        for char in text:
            if escaped or char not in "\\,":
                fields[-1] += char
                escaped = False
            elif char == ",":
                fields.append("")
            else:
                escaped = True
        command, *arguments = fields
        if not command:
            raise UsageError("--force-cmd: CMD can't be empty", "write --force-cmd=CMD,ARG[,ARG…]")
        if not arguments:
            raise UsageError(
                "--force-cmd: at least one ARG is needed", f"write --force-cmd={command},ARG[,ARG…]"
            )
        return cls(command, tuple(arguments))


_WORDS = 64  # of a command, which may be one of thousands that name each other
_APT_UNSANDBOXED = ("-o", "APT::Sandbox::User=root")
DEFAULT_HOOKS = (Hook("apt", _APT_UNSANDBOXED), Hook("apt-get", _APT_UNSANDBOXED))
APT_CONFIG = "/ch/apt.conf"
# apt(8) reads this file before /etc/apt/apt.conf.d, and then its own subtree of ``Binary``.
APT_CONFIGURATION = b"".join(
    scope + b'APT::Sandbox::User "root";\n'
    for scope in (b"", b"Binary::apt::", b"Binary::apt-get::")
)


def inject(argv: Sequence[str], hooks: Sequence[Hook]) -> tuple[str, ...]:
    """Return ``argv`` with the arguments of ``hooks`` after every command that they name."""
    additions: dict[str, tuple[str, ...]] = {}
    for hook in hooks:
        additions[hook.command] = additions.get(hook.command, ()) + hook.arguments
    result: list[str] = []
    commands, scripts = _command_positions(argv)
    for index, word in enumerate(argv):
        result.append(_inject_script(word, additions) if index in scripts else word)
        if index in commands:
            result.extend(additions.get(word, ()))
    return tuple(result)


def commands(argv: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield each command that ``argv`` runs, in the shell's text, too: its name, and some words.

    Raises RecursionError for a text that nests too deep.
    """
    positions, scripts = _command_positions(argv)
    for index in positions:
        yield argv[index : index + _WORDS]
    for index in scripts:
        for words in simple_commands(ShellText.outermost(argv[index])):
            yield from commands([word.value.text for word in words])


def _inject_script(script: str, additions: dict[str, tuple[str, ...]]) -> str:
    insertions: dict[int, str] = {}
    try:
        for offset, addition in _insertions(ShellText.outermost(script), additions):
            # A substitution in a quoted script appears at both levels: use the outer one's quoting.
            insertions.setdefault(offset, addition)
    except RecursionError:  # hundreds of nested substitutions: not an apt command
        return script
    pieces = []
    position = 0
    for offset in sorted(insertions):
        pieces += [script[position:offset], insertions[offset]]
        position = offset
    return "".join([*pieces, script[position:]])


def _insertions(
    source: ShellText, additions: dict[str, tuple[str, ...]]
) -> Iterator[tuple[int, str]]:
    """Yield (offset in the outermost text, text to insert there), substitutions first."""
    for words in simple_commands(source):
        values = [word.value.text for word in words]
        commands, scripts = _command_positions(values)
        for index in scripts:
            yield from _insertions(words[index].value, additions)
        for index in commands:
            if arguments := additions.get(values[index]):
                yield source.insertion(words[index].end, f" {shlex.join(arguments)}")


@dataclass(frozen=True, slots=True)
class _Runner:
    """A program that runs the command in its arguments.

    The command comes after options, then assignments if ``assignments`` is true, then ``operands``
    words.  Options in ``valued`` take the next word.  With an option of ``query``, the program runs
    nothing.
    """

    valued: str = ""
    operands: int = 0
    assignments: bool = False
    query: str = ""

    def command_index(self, argv: Sequence[str], index: int) -> int:
        """Return the command's index, len(argv) if there is none; ``index`` is after the name."""
        operands = self.operands
        while index < len(argv):
            word = argv[index]
            if word == "--":
                index += 1
            elif word.startswith("-") and len(word) > 1:
                if word[1] in self.query:
                    return len(argv)
                separate_value = len(word) == 2 and word[1] in self.valued
                index += 2 if separate_value else 1
                continue
            elif self.assignments and "=" in word:
                index += 1
                continue
            return index + operands
        return index


_RUNNERS = {
    "builtin": _Runner(),
    "chroot": _Runner(operands=1),
    "command": _Runner(query="vV"),
    "doas": _Runner(valued="uC"),
    "eatmydata": _Runner(),
    "env": _Runner(valued="uCS", assignments=True),
    "exec": _Runner(valued="a"),
    "fakeroot": _Runner(valued="lsib"),
    "flock": _Runner(valued="wE", operands=1),
    "gosu": _Runner(operands=1),
    "ionice": _Runner(valued="cn", query="pPu"),
    "nice": _Runner(valued="n"),
    "nohup": _Runner(),
    "setarch": _Runner(operands=1),
    "setsid": _Runner(),
    "stdbuf": _Runner(valued="ioe"),
    "su-exec": _Runner(operands=1),
    "sudo": _Runner(valued="ugCDhpRrTtU", assignments=True, query="lvV"),
    "time": _Runner(valued="fo"),
    "timeout": _Runner(valued="sk", operands=1),
    "unshare": _Runner(),
    "xargs": _Runner(valued="adEILnPs"),
}
_SHELLS = frozenset(["ash", "bash", "dash", "ksh", "mksh", "sh", "yash", "zsh"])


def _command_positions(argv: Sequence[str]) -> tuple[set[int], set[int]]:
    """Return the indices of command words, and of words that contain a command as a string."""
    commands: set[int] = set()
    index = 0
    while index < len(argv):
        commands.add(index)
        name = argv[index].rpartition("/")[2]
        if name in _SHELLS:
            return commands, _script_index(argv, index + 1)
        if name == "eval":
            return commands, {index + 1} & set(range(len(argv)))
        runner = _RUNNERS.get(name)
        if runner is None:
            break
        index = runner.command_index(argv, index + 1)
    return commands, set()


def _script_index(argv: Sequence[str], index: int) -> set[int]:
    """Return the index of a shell's command string (``-c``), if it has one."""
    from_string = False
    while index < len(argv):
        word = argv[index]
        if word[:1] not in ("-", "+") or word in ("-", "--"):
            index += word in ("-", "--")
            return {index} if from_string and index < len(argv) else set()
        long_option = word.startswith("--")
        from_string |= word[0] == "-" and not long_option and "c" in word
        takes_value = not long_option and word[-1] in "oO"
        index += 2 if takes_value else 1
    return set()
