"""Find the command words in shell text, with as much of the grammar as that needs.

Specification: POSIX.1-2024, Shell Command Language, §2.2 quoting, §2.3 token recognition, §2.9
commands, §2.10 grammar; and the parts of bash that Dockerfiles use (``[[ ]]``, ``(( ))``, ``$'…'``,
arrays, process substitution, ``<<<``).  This module expands and runs nothing.  If a shell would
refuse a text, this module reads it as far as it makes sense.

The one client is ``builder.run.inject``, which inserts words after a command word.  A command's
text can itself be a quoted word of another command (``sh -c 'apt-get update'``).  So every
character knows its end in the outermost text, and the quoting between itself and that text.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_BLANK = " \t"
_METACHARACTERS = " \t\n;&|<>()"
_REDIRECTIONS = ("<<<", "<<-", "&>>", "<<", ">>", ">&", "<&", ">|", "<>", "&>", "<", ">")
_SEPARATORS = (";;&", ";;", ";&", "&&", "||", "|&", ";", "&", "|")
_NEXT_CASE = (";;&", ";;", ";&")

# Reserved words that a command follows.
_PREFIXES = frozenset(["if", "then", "elif", "else", "while", "until", "do", "!", "time", "{"])

# The replacement of a text that means the same text inside a quotation.
_ESCAPES: dict[str, Callable[[str], str]] = {
    "'": lambda text: text.replace("'", "'\\''"),
    '"': lambda text: "".join(f"\\{char}" if char in '"\\$`' else char for char in text),
    "": shlex.quote,
}


@dataclass(frozen=True, slots=True)
class ShellText:
    """A text at one level of quoting.

    For each character of ``text``: ``ends`` has the offset after it in the outermost text, and
    ``quotes`` has its quotes, outermost first.
    """

    text: str
    ends: tuple[int, ...]
    quotes: tuple[tuple[str, ...], ...]

    @classmethod
    def outermost(cls, text: str) -> ShellText:
        """Return ``text`` as the shell gets it."""
        return cls(text, tuple(range(1, len(text) + 1)), ((),) * len(text))

    def insertion(self, index: int, addition: str) -> tuple[int, str]:
        """Return the offset and text that insert ``addition`` before ``index``, which is > 0."""
        for quote in reversed(self.quotes[index - 1]):
            addition = _ESCAPES[quote](addition)
        return self.ends[index - 1], addition


@dataclass(frozen=True, slots=True)
class ShellWord:
    """A word of a command: ``value`` has no quotes (expansions stay unchanged).

    ``end`` is the index after the word in its text.
    """

    value: ShellText
    end: int


def simple_commands(source: ShellText) -> list[list[ShellWord]]:
    """Return the simple commands of ``source``, with those in command substitutions.

    A command's words do not include assignments, redirections and reserved words.  The result does
    not include text that is no command (a ``for`` list, a ``case`` pattern, ``[[ … ]]``,
    arithmetic, a here-document, a comment).
    """
    scanner = _Scanner(source)
    scanner.commands(0, len(source.text))
    return scanner.found


class _Scanner:
    def __init__(self, source: ShellText) -> None:
        self.source = source
        self.text = source.text
        self.found: list[list[ShellWord]] = []

    def commands(self, at: int, stop: int, closing: str = "") -> int:
        """Read commands from ``at`` to ``stop`` or an unpaired ``closing``; return the end."""
        reader = _ListReader(self, stop, closing)
        return reader.read(at)

    def skip_blanks(self, at: int, stop: int) -> int:
        """Return the first place that is neither a blank nor a continued line."""
        while at < stop:
            if self.text[at] in _BLANK:
                at += 1
            elif self.text.startswith("\\\n", at):
                at += 2
            else:
                break
        return at

    def word(self, at: int, stop: int) -> ShellWord:
        """Read the word at ``at``; an unquoted metacharacter ends it."""
        value = _Value(self.source)
        while at < stop:
            char = self.text[at]
            if char in _METACHARACTERS:
                if char == "(" and value.is_array_assignment():
                    at = self.balanced(at + 1, stop, "(", ")")
                    continue
                if char in "<>" and self.text.startswith("(", at + 1) and value.is_empty():
                    at = self._substitution(at, at + 2, stop, value, "")
                    continue
                break
            at = self._part(at, stop, value)
        return ShellWord(value.done(), at)

    def _part(self, at: int, stop: int, value: _Value) -> int:
        char = self.text[at]
        if char == "\\":
            if at + 1 < stop and self.text[at + 1] != "\n":
                value.add(at + 1, "")
            return at + 2
        if char == "'":
            return self._single_quoted(at + 1, stop, value)
        if char == '"':
            return self._double_quoted(at + 1, stop, value)
        if self.text.startswith("$'", at):
            return self._ansi_quoted(at + 2, stop, value)
        if char in "$`":
            return self._expansion(at, stop, value, "")
        value.add(at, "")
        return at + 1

    def _single_quoted(self, at: int, stop: int, value: _Value) -> int:
        value.quoted = True
        while at < stop and self.text[at] != "'":
            value.add(at, "'")
            at += 1
        return at + 1

    def _double_quoted(self, at: int, stop: int, value: _Value) -> int:
        value.quoted = True
        while at < stop and self.text[at] != '"':
            char = self.text[at]
            if char == "\\" and at + 1 < stop and self.text[at + 1] in '$`"\\\n':
                if self.text[at + 1] != "\n":
                    value.add(at + 1, '"')
                at += 2
            elif char in "$`":
                at = self._expansion(at, stop, value, '"')
            else:
                value.add(at, '"')
                at += 1
        return at + 1

    def _ansi_quoted(self, at: int, stop: int, value: _Value) -> int:
        """Skip a ``$'…'``: its escapes stay undecoded, so that it matches no command."""
        value.quoted = True
        while at < stop and self.text[at] != "'":
            at += 2 if self.text[at] == "\\" else 1
        value.add_opaque()
        return at + 1

    def _expansion(self, at: int, stop: int, value: _Value, quote: str) -> int:
        """Read an expansion that begins at ``at`` with ``$`` or a backquote; keep it unchanged."""
        text = self.text
        if text.startswith("$((", at):
            end = self.balanced(at + 3, stop, "(", ")")
            end += text.startswith(")", end)
        elif text.startswith("$(", at):
            return self._substitution(at, at + 2, stop, value, quote)
        elif text.startswith("${", at):
            end = self.balanced(at + 2, stop, "{", "}")
        elif text[at] == "`":
            end = self._backquoted(at + 1, stop)
        else:
            end = at + 1
        value.add_range(at, min(end, stop), quote)
        return end

    def _substitution(self, at: int, inside: int, stop: int, value: _Value, quote: str) -> int:
        end = self.commands(inside, stop, ")")
        value.add_range(at, min(end, stop), quote)
        return end

    def _backquoted(self, at: int, stop: int) -> int:
        end = at
        while end < stop and self.text[end] != "`":
            end += 2 if self.text[end] == "\\" else 1
        # The shell removes backslashes before it reads these commands.  They are rare: leave them
        # alone.
        if "\\" not in self.text[at:end]:
            self.commands(at, min(end, stop))
        return end + 1

    def balanced(self, at: int, stop: int, opening: str, closing: str) -> int:
        """Return the place after the ``closing`` that belongs to an ``opening`` before ``at``."""
        depth = 1
        ignored = _Value(self.source)
        while at < stop:
            char = self.text[at]
            depth += (char == opening) - (char == closing)
            if not depth:
                return at + 1
            at = self._part(at, stop, ignored) if char in "\\'\"$`" else at + 1
        return stop


class _Value:
    """Collects the value of a word."""

    def __init__(self, source: ShellText) -> None:
        self.source = source
        self.chars: list[str] = []
        self.ends: list[int] = []
        self.quotes: list[tuple[str, ...]] = []
        self.quoted = False

    def add(self, index: int, quote: str) -> None:
        self.chars.append(self.source.text[index])
        self.ends.append(self.source.ends[index])
        self.quotes.append((*self.source.quotes[index], quote))

    def add_range(self, start: int, stop: int, quote: str) -> None:
        for index in range(start, stop):
            self.add(index, quote)

    def add_opaque(self) -> None:
        """Add a character that no command's name contains."""
        self.chars.append("\0")
        self.ends.append(0)
        self.quotes.append(())

    def is_empty(self) -> bool:
        return not self.chars and not self.quoted

    def is_array_assignment(self) -> bool:
        return _is_assignment(text := "".join(self.chars)) and text.endswith("=")

    def done(self) -> ShellText:
        return ShellText("".join(self.chars), tuple(self.ends), tuple(self.quotes))


class _ListReader:
    """Reads a list of commands.

    ``expects`` says what the next word is: ``command`` (its name, or more of it), ``listed`` (in a
    ``for``), ``function`` (a name), ``subject`` or ``pattern`` (in a ``case``), ``test``
    (in ``[[ ]]``).
    """

    def __init__(self, scanner: _Scanner, stop: int, closing: str) -> None:
        self.scanner = scanner
        self.text = scanner.text
        self.stop = stop
        self.closing = closing
        self.words: list[ShellWord] = []
        self.expects = "command"
        self.subshells = 0
        self.cases = 0
        self.here_documents: list[tuple[str, bool]] = []

    def read(self, at: int) -> int:
        """Read to the end of the list; return that place."""
        while (at := self.scanner.skip_blanks(at, self.stop)) < self.stop:
            char = self.text[at]
            if char == "\n":
                self._finish()
                at = self._skip_here_documents(at + 1)
            elif char == "#":
                at = self._line_end(at)
            elif char == "(":
                at = self._open(at)
            elif char == ")":
                at += 1
                if self._close():
                    return at
            elif operator := self._operator(_REDIRECTIONS, at):
                at = self._redirection(at, operator)
            elif operator := self._operator(_SEPARATORS, at):
                at += len(operator)
                self._separator(operator)
            else:
                at = self._word(at)
        self._finish()
        return self.stop

    def _operator(self, operators: tuple[str, ...], at: int) -> str:
        if self.text[at] in "<>" and self.text.startswith("(", at + 1):
            return ""  # process substitution: a word
        return next((each for each in operators if self.text.startswith(each, at)), "")

    def _line_end(self, at: int) -> int:
        end = self.text.find("\n", at, self.stop)
        return self.stop if end < 0 else end

    def _finish(self) -> None:
        """End the simple command, if there is one."""
        if self.words:
            self.scanner.found.append(self.words)
            self.words = []
        if self.expects in ("listed", "function"):
            self.expects = "command"

    def _open(self, at: int) -> int:
        arithmetic = self.text.startswith("((", at) and not self.words
        if arithmetic and self.expects in ("command", "listed"):
            return self.scanner.balanced(at + 1, self.stop, "(", ")")
        if self.expects == "command" and not self.words:
            self.subshells += 1
        elif self.expects == "command":
            self.words.clear()  # NAME () defines a function
            after = self.scanner.skip_blanks(at + 1, self.stop)
            return after + self.text.startswith(")", after)
        return at + 1

    def _close(self) -> bool:
        """Take a closing parenthesis; return whether it ends this list."""
        if self.expects == "test":
            return False
        if self.expects == "pattern":
            self.expects = "command"
            return False
        self._finish()
        if self.subshells:
            self.subshells -= 1
            return False
        return self.closing == ")"

    def _separator(self, operator: str) -> None:
        if self.expects in ("pattern", "test"):  # `a | b)`, `[[ a && b ]]`
            return
        self._finish()
        if operator in _NEXT_CASE and self.cases:
            self.expects = "pattern"

    def _redirection(self, at: int, operator: str) -> int:
        at = self.scanner.skip_blanks(at + len(operator), self.stop)
        target = self.scanner.word(at, self.stop)
        if operator in ("<<", "<<-"):
            self.here_documents.append((target.value.text, operator == "<<-"))
        return target.end

    def _skip_here_documents(self, at: int) -> int:
        for delimiter, strip_tabs in self.here_documents:
            while at < self.stop:
                end = self._line_end(at)
                line = self.text[at:end]
                at = min(end + 1, self.stop)
                if (line.lstrip("\t") if strip_tabs else line) == delimiter:
                    break
        self.here_documents.clear()
        return at

    def _word(self, at: int) -> int:
        word = self.scanner.word(at, self.stop)
        raw = self.text[at : word.end]
        is_descriptor = raw.isdigit() and self.text.startswith(("<", ">"), word.end)
        match self.expects, raw:
            case "command", _ if is_descriptor:
                pass
            case "command", _ if self.words:
                self.words.append(word)
            case "command", "for" | "select":
                self.expects = "listed"
            case "command", "case":
                self.expects = "subject"
            case "subject", "in":
                self.cases += 1
                self.expects = "pattern"
            case (("command" | "pattern"), "esac"):
                self.cases = max(0, self.cases - 1)
                self.expects = "command"
            case "command", "[[":
                self.expects = "test"
            case "test", "]]":
                self.expects = "command"
            case "command", "function":
                self.expects = "function"
            case "function", _:
                self.expects = "command"
            case "command", _ if raw not in _PREFIXES and not _is_assignment(raw):
                self.words.append(word)
        return max(word.end, at + 1)


def _is_assignment(text: str) -> bool:
    """Tell whether a word is ``NAME=…``, ``NAME+=…`` or ``NAME[…]=…``."""
    name, equals, _ = text.partition("=")
    name = name.removesuffix("+").partition("[")[0]
    return bool(equals) and name.isidentifier() and name.isascii()
