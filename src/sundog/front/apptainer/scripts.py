"""The image's scripts of variables, read without a shell, as far as that is possible.

Apptainer writes files of few forms to /.singularity.d/env: assignments, ``export``, and ``if`` with
a test of a text.  This module evaluates these forms.  Anything else is ``NeedsShell``: the shell of
the image must read it, in the container.  The texts come from an image, so each is bounded.

Specification: the shell command language of POSIX.1-2024.
"""

from __future__ import annotations

from sundog.base.quoting import IDENTIFIER, is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SCRIPT_LIMIT = 1 << 20  # bytes of a script, and of what its variables expand to
_DEPTH_LIMIT = 16  # of ${X:-${Y:-…}}
_FLOW_LIMIT = 100  # of an ``if`` in an ``if``
_OPERATORS = frozenset("|&<>()")
_PATTERNS = frozenset("*?[")
_QUOTES = frozenset("'\"\\$")
_COMPARED = {"=": True, "==": True, "!=": False}


Word = tuple[str, int]  # a text, and how many of its first characters are as they are written


class NeedsShell(Exception):
    """The text has a form that only a shell can evaluate."""


class Variables:
    """The variables of a shell, of which a command gets those that are ``exported``."""

    __slots__ = ("_size", "exported", "values")

    def __init__(
        self, values: Mapping[str, str], exported: Iterable[str] | None = None, size: int = 0
    ) -> None:
        self.values = dict(values)
        self.exported = set(values if exported is None else exported)
        self._size = size

    def set(self, name: str, value: str) -> None:
        """Set a variable.  Raises NeedsShell where texts grow without end."""
        self._size += len(value)
        if self._size > SCRIPT_LIMIT:
            raise NeedsShell
        self.values[name] = value

    def export(self, name: str, value: str) -> None:
        """Set a variable that commands get."""
        self.set(name, value)
        self.exported.add(name)

    def unset(self, name: str) -> None:
        """Unset a variable."""
        self.values.pop(name, None)
        self.exported.discard(name)

    def passed(self) -> dict[str, str]:
        """Return the variables that commands get."""
        return {name: value for name, value in self.values.items() if name in self.exported}

    def copy(self) -> Variables:
        """Return the same variables, which change by themselves."""
        return Variables(self.values, self.exported, self._size)


def run_script(text: str, variables: Variables) -> Variables:
    """Return the variables after the script ``text``.  Raises NeedsShell."""
    if len(text) > SCRIPT_LIMIT:
        raise NeedsShell
    changed = variables.copy()
    _Script(text, changed).run()
    return changed


def expanded(text: str, variables: Variables) -> str:
    """Return ``text`` as a shell evaluates it between double quotes.  Raises NeedsShell."""
    return _Script(text, variables).quoted(end="")


class _Script:
    """A script, and how far it has been read.  Only the rest of it is ever looked at."""

    __slots__ = ("_depth", "_expanded", "_flow", "_place", "_text", "_variables")

    def __init__(self, text: str, variables: Variables) -> None:
        self._text = text
        self._place = 0
        self._depth = 0
        self._expanded = 0  # the size of all that has been expanded
        self._variables = variables
        # For each ``if`` around: whether its branch is taken, and whether one has been.
        self._flow: list[tuple[bool, bool]] = []

    def run(self) -> None:
        while self._place < len(self._text):
            words = self._statement()
            if words:
                self._obey(words)
        if self._flow:
            raise NeedsShell

    @property
    def _is_active(self) -> bool:
        return all(taken for taken, _ in self._flow)

    def _obey(self, words: list[Word]) -> None:
        """Obey a statement."""
        first, plain = words[0]
        keyword = _KEYWORDS.get(first) if plain == len(first) else None
        if keyword is not None:
            keyword(self, words[1:])
        elif self._is_active:
            self._command(words)

    def _if(self, words: list[Word]) -> None:
        if len(self._flow) >= _FLOW_LIMIT:
            raise NeedsShell
        taken = self._is_active and _test(words)
        self._flow.append((taken, taken))

    def _then(self, words: list[Word]) -> None:
        self._needs_flow()
        if words:
            self._obey(words)

    def _elif(self, words: list[Word]) -> None:
        self._needs_flow()
        _, was_taken = self._flow.pop()
        taken = self._is_active and not was_taken and _test(words)
        self._flow.append((taken, taken or was_taken))

    def _else(self, words: list[Word]) -> None:
        self._needs_flow()
        _, was_taken = self._flow.pop()
        self._flow.append((not was_taken, True))
        if words:
            self._obey(words)

    def _fi(self, words: list[Word]) -> None:
        self._needs_flow()
        if words:
            raise NeedsShell
        self._flow.pop()

    def _needs_flow(self) -> None:
        if not self._flow:
            raise NeedsShell

    def _command(self, words: list[Word]) -> None:
        first = words[0][0]
        if first == ":":
            return
        is_export = first == "export"
        if first == "unset":
            for name, _ in words[1:]:
                if not is_name(name):
                    raise NeedsShell
                self._variables.unset(name)
            return
        for word, plain in words[1:] if is_export else words:
            name, equals, value = word.partition("=")
            is_assigned = equals and (is_export or len(name) < plain)
            if not is_name(name) or not (is_assigned or is_export):
                raise NeedsShell
            if equals:
                self._variables.set(name, value)
            if is_export:
                self._variables.exported.add(name)

    def _statement(self) -> list[Word]:
        """Return the words up to the end of a statement."""
        words: list[Word] = []
        while self._place < len(self._text):
            character = self._text[self._place]
            if character in " \t\r":
                self._place += 1
            elif character in "\n;":
                self._place += 1
                break
            elif character == "#":
                end = self._text.find("\n", self._place)
                self._place = len(self._text) if end < 0 else end
            else:
                words.append(self._word())
        return words

    def _word(self) -> Word:
        """Return the word that begins here."""
        parts: list[str] = []
        plain: int | None = None
        is_assignment, is_test = False, self._text.startswith("[", self._place)
        while self._place < len(self._text):
            character = self._text[self._place]
            if character in " \t\n;\r":
                break
            self._place += 1
            if plain is None and character in _QUOTES:
                plain = len(parts)  # each has been one character
            if (
                character in _OPERATORS
                or character in "`{}!"
                or (character == "~" and (not parts or parts[-1][-1:] in ("=", ":")))
            ):
                raise NeedsShell
            if character == "'":
                end = self._text.find("'", self._place)
                if end < 0:
                    raise NeedsShell
                parts.append(self._text[self._place : end])
                self._place = end + 1
            elif character == '"':
                parts.append(self.quoted(end='"'))
            elif character == "\\":
                following = self._text[self._place : self._place + 1]
                self._place += 1
                if following != "\n":
                    parts.append(following)
            elif character == "$":
                value = self._expansion()
                # Outside of an assignment, a shell would split it.
                if not is_assignment and value.split() != [value]:
                    raise NeedsShell
                parts.append(value)
            elif character in _PATTERNS and not (is_assignment or is_test):
                raise NeedsShell
            else:
                is_assignment = is_assignment or character == "="
                parts.append(character)
        text = "".join(parts)
        return text, len(text) if plain is None else plain

    def quoted(self, end: str) -> str:
        """Return the text up to the quote ``end``, which is left behind, or up to the very end."""
        parts: list[str] = []
        while True:
            if self._place >= len(self._text):
                if end:
                    raise NeedsShell
                return "".join(parts)
            character = self._text[self._place]
            self._place += 1
            if character == end:
                return "".join(parts)
            if character == "`":
                raise NeedsShell
            if character == "\\":
                following = self._text[self._place : self._place + 1]
                if following in ("$", "`", '"', "\\", "\n") and following:
                    self._place += 1
                    character = "" if following == "\n" else following
            elif character == "$":
                character = self._expansion()
            parts.append(character)

    def _expansion(self) -> str:
        """Return the text that stands for the expansion behind a ``$``."""
        value = self._unbounded_expansion()
        self._expanded += len(value)
        if self._expanded > SCRIPT_LIMIT:
            raise NeedsShell
        return value

    def _unbounded_expansion(self) -> str:
        rest = self._text[self._place : self._place + 1]
        if rest == "{":
            self._place += 1
            return self._braces()
        if rest in ("(", "'") or (rest and rest in "@*#?-$!0123456789"):
            raise NeedsShell
        name = self._name()
        return self._variables.values.get(name, "") if name else "$"

    def _name(self) -> str:
        start = self._place
        while self._text[self._place : self._place + 1] in IDENTIFIER:
            self._place += 1
        return self._text[start : self._place]

    def _braces(self) -> str:
        name = self._name()
        if not is_name(name):
            raise NeedsShell
        length = 2 if self._text.startswith(":", self._place) else 1
        operator = self._text[self._place : self._place + length]
        self._place += length
        value = self._variables.values.get(name)
        if operator == "}":
            return value or ""
        if operator not in (":-", "-", ":+", "+"):
            raise NeedsShell
        other = self._other()
        is_there = bool(value) if operator.startswith(":") else value is not None
        if operator.endswith("+"):
            return other if is_there else ""
        return value or "" if is_there else other

    def _other(self) -> str:
        """Return the word up to the brace that ends ``${NAME:-WORD}``."""
        self._depth += 1
        if self._depth > _DEPTH_LIMIT:
            raise NeedsShell
        parts: list[str] = []
        while True:
            character = self._text[self._place : self._place + 1]
            self._place += 1
            if character == "}":
                break
            if character in ("", "`", "'", "\n"):
                raise NeedsShell
            if character == '"':
                parts.append(self.quoted(end='"'))
            elif character == "\\":
                parts.append(self._text[self._place : self._place + 1])
                self._place += 1
            elif character == "$":
                parts.append(self._expansion())
            else:
                parts.append(character)
        self._depth -= 1
        return "".join(parts)


def _unknown(_script: _Script, _words: list[Word]) -> None:
    raise NeedsShell


_KEYWORDS: dict[str, Callable[[_Script, list[Word]], None]] = {
    "if": _Script._if,
    "then": _Script._then,
    "elif": _Script._elif,
    "else": _Script._else,
    "fi": _Script._fi,
    **dict.fromkeys(("for", "while", "until", "case", "do", "done", "esac", "function"), _unknown),
    **dict.fromkeys(("[[", "select", "time"), _unknown),
}


def _test(words: list[Word]) -> bool:
    """Return the result of ``[ … ]`` or ``test …`` that compares texts.  Raises NeedsShell."""
    texts = [word for word, _ in words]
    if texts[:1] == ["["] and texts[-1:] == ["]"]:
        texts = texts[1:-1]
    elif texts[:1] == ["test"]:
        texts = texts[1:]
    else:
        raise NeedsShell
    if len(texts) == 2 and texts[0] in ("-n", "-z"):
        return bool(texts[1]) == (texts[0] == "-n")
    if len(texts) == 3 and texts[1] in _COMPARED:
        return (texts[0] == texts[2]) == _COMPARED[texts[1]]
    raise NeedsShell
