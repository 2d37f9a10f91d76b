r"""Words: quotes, escapes and the substitution of variables.

Specification: the Dockerfile reference, “Environment replacement”, and where it is silent, what
BuildKit's shell lexer does:

* ``'…'`` is literal.  In ``"…"`` the escape character escapes ``"``, ``$`` and itself, and stays
  before anything else.  Outside quotes it escapes any character.
* ``$name`` and ``${name}`` are the variable's value, empty when it is unset.  Values are not read
  again for quotes or variables.
* ``${name:-word}`` ``${name:+word}`` ``${name:?word}`` and the same without the colon, as in sh.
* ``${name#pattern}`` ``##`` ``%`` ``%%`` ``${name/pattern/replacement}`` ``//`` (``modifiers``).

The expansion of a word is bounded: small files must not make large values.

Pure: no I/O, no knowledge of instructions.
"""

from __future__ import annotations

from sundog.errors import SubstitutionError
from sundog.image.dockerfile.blanks import BLANKS
from sundog.image.dockerfile.modifiers import (
    VALUE_LIMIT,
    bounded,
    modified,
    shown,
    substituted,
    too_large,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    # A piece of an expanded word; a literal one is not split at blanks.
    Fragment = tuple[str, bool]

_SPECIAL_PARAMETERS = "@*#?$!-"  # of sh; none is ever set here
_MODIFIERS = "-+?#%"
_DEPTH_LIMIT = 50  # Python's stack is not endless


def expand(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """Expand ``text`` as one word, blanks and all; raise SubstitutionError."""
    if not _is_special(text, escape):
        return text
    return _text(_Lexer(text, variables, escape).fragments())


def expand_words(text: str, variables: Mapping[str, str], escape: str = "\\") -> list[str]:
    """Expand ``text`` and split it at blanks that are not quoted; raise SubstitutionError.

    Blanks from a variable's value split too, as in sh; empty words vanish, even quoted ones.
    """
    return _split(_Lexer(text, variables, escape).fragments())


def expand_document(text: str, variables: Mapping[str, str]) -> str:
    r"""Expand the body of a heredoc, where quotes mean nothing; raise SubstitutionError.

    The escape character is ``\`` here, whatever the file's parser directive says.
    """
    return _text(_Lexer(text, variables, "\\", quotes="").fragments())


def raw_words(text: str) -> list[str]:
    """Split ``text`` at unquoted blanks, quotes, escapes and variables staying as they are.

    For the search for heredocs in commands of any shell: a text that is no word in the sense of
    this module has no words.
    """
    try:
        return _split(_Lexer(text, {}, "\\", raw=True).fragments(keep_escapes=True))
    except SubstitutionError:
        return []


def unquoted_words(text: str) -> list[str]:
    """Split ``text`` at unquoted blanks, quotes and escapes resolved but variables left alone."""
    return _split(_Lexer(text, {}, "\\", keep_unset=True).fragments())


def _is_special(text: str, escape: str) -> bool:
    return "$" in text or '"' in text or "'" in text or escape in text


def _text(fragments: Iterable[Fragment]) -> str:
    return "".join(fragment for fragment, _ in fragments)


def _split(fragments: list[Fragment]) -> list[str]:
    words = []
    word = ""
    for fragment, is_literal in fragments:
        if is_literal:
            word += fragment
            continue
        for char in fragment:
            if char not in BLANKS:
                word += char
            elif word:
                words.append(word)
                word = ""
    if word:
        words.append(word)
    return words


class _Lexer:
    """A recursive-descent reader of one text; ``position`` is where it stands.

    ``raw`` keeps quotes and variables in the result.
    """

    __slots__ = (
        "depth",
        "escape",
        "keep_quotes",
        "keep_unset",
        "position",
        "quotes",
        "text",
        "variables",
    )

    def __init__(
        self,
        text: str,
        variables: Mapping[str, str],
        escape: str,
        *,
        quotes: str = "'\"",
        raw: bool = False,
        keep_unset: bool = False,
    ) -> None:
        self.text = text
        self.variables = variables
        self.escape = escape
        self.quotes = quotes
        self.keep_quotes = raw
        self.keep_unset = raw or keep_unset
        self.position = 0
        self.depth = 0

    def fragments(self, stop: str = "", *, keep_escapes: bool = False) -> list[Fragment]:
        """Read up to the character ``stop`` and over it, to the end of the text if it is empty."""
        fragments: list[Fragment] = []
        special = "$" + self.escape + self.quotes + stop
        size = 0
        while self.position < len(self.text):
            start = self.position
            self.skip_to(special)
            if self.position > start:
                fragments.append((self.text[start : self.position], False))
                continue
            char = self.take()
            if char == stop:
                return fragments
            if char == "$":
                fragments.append((self.parameter(), False))
            elif char == "'":
                fragments.append((self.single_quoted(), True))
            elif char == '"':
                fragments.append((self.double_quoted(keep_escapes=keep_escapes), True))
            else:
                kept = char if keep_escapes else ""
                fragments.append((kept + self.take(), True))
            size += len(fragments[-1][0])
            if size > VALUE_LIMIT:
                raise too_large()
        if stop:
            raise self.error(f"missing {stop!r}")
        return fragments

    def until(self, stop: str, *, keep_escapes: bool) -> str:
        """Read and expand up to the character ``stop`` and over it."""
        self.depth += 1
        if self.depth > _DEPTH_LIMIT:
            raise self.error(f"more than {_DEPTH_LIMIT} substitutions inside of each other")
        fragments = self.fragments(stop, keep_escapes=keep_escapes)
        self.depth -= 1
        return _text(fragments)

    def single_quoted(self) -> str:
        """Read on from behind a single quote to behind the next."""
        end = self.text.find("'", self.position)
        if end < 0:
            raise self.error("the single quote is not closed")
        inside = self.text[self.position : end]
        self.position = end + 1
        return f"'{inside}'" if self.keep_quotes else inside

    def double_quoted(self, *, keep_escapes: bool) -> str:
        """Read on from behind a double quote to behind the next, expanding variables."""
        return bounded(self.inside_of_quotes(keep_escapes=keep_escapes))

    def inside_of_quotes(self, *, keep_escapes: bool) -> Iterator[str]:
        """Read on as ``double_quoted`` does; return the pieces of what stands there."""
        quote = '"' if self.keep_quotes else ""
        yield quote
        while char := self.take():
            if char == '"':
                yield quote
                return
            if char == "$":
                yield self.parameter()
                continue
            if char == self.escape:
                if keep_escapes:
                    yield char
                if self.peek() in ("$", '"', self.escape):
                    char = self.take()
            yield char
        raise self.error("the double quote is not closed")

    def parameter(self) -> str:
        """Read on from behind a ``$`` and return what stands there instead."""
        if self.peek() == "{":
            self.take()
            return self.braced()
        name = self.name()
        if not name:
            return "$"
        value = self.variables.get(name)
        if value is None:
            return f"${name}" if self.keep_unset else ""
        return value

    def braced(self) -> str:
        """Read on from behind ``${`` to behind its ``}``."""
        start = self.position
        name = self.name()
        operator = self.take()
        if not operator:
            raise self.error("missing '}'")
        if operator in "{}:" and self.position == start + 1:
            raise self.error("bad substitution: no name after '${'")
        value = self.variables.get(name)
        if operator == "}":
            if value is None:
                return f"${{{name}}}" if self.keep_unset else ""
            return value
        if operator == "/":
            return self.replaced(name, value)
        colon = ""
        if operator == ":":
            colon, operator = ":", self.take()
        # Where variables stay as they are, ${name:anything} does: ${name:0:3} is for the shell.
        if (not operator or operator not in _MODIFIERS) and not (colon and self.keep_unset):
            raise self.error(
                f"unsupported modifier: ${{{name}{colon}{operator}…",
                hint="modifiers are :- - :+ + :? ? # ## % %% / //",
            )
        word = self.until("}", keep_escapes=operator in ("#", "%"))
        if value is None and self.keep_unset:
            return f"${{{name}{colon}{operator}{word}}}"
        return modified(name, value, colon, operator, word)

    def replaced(self, name: str, value: str | None) -> str:
        """Read on from behind ``${name/`` to behind its ``}``."""
        everywhere = self.peek() == "/"
        if everywhere:
            self.take()
        pattern = self.until("/", keep_escapes=True)
        replacement = self.until("}", keep_escapes=True)
        if value is None:
            return f"${{{name}/{pattern}/{replacement}}}" if self.keep_unset else ""
        return substituted(value, pattern, replacement, everywhere=everywhere)

    def name(self) -> str:
        """Read a name, digits, or one of sh's special parameters; "" when there is none."""
        start = self.position
        first = self.peek()
        if first and first in _SPECIAL_PARAMETERS:
            self.take()
        elif first.isdecimal():
            while self.peek().isdecimal():
                self.take()
        else:
            while (char := self.peek()).isalpha() or char.isdecimal() or char == "_":
                self.take()
        return self.text[start : self.position]

    def skip_to(self, chars: str) -> None:
        """Move to the next of ``chars``, or to the end."""
        end = len(self.text)
        while self.position < end and self.text[self.position] not in chars:
            self.position += 1

    def error(self, what: str, hint: str = "") -> SubstitutionError:
        """Make the error that shows the text and what is wrong with it."""
        return SubstitutionError(f"{shown(self.text)}: {what}", hint)

    def peek(self) -> str:
        """Return the next character, "" at the end."""
        return self.text[self.position : self.position + 1]

    def take(self) -> str:
        """Read the next character, "" at the end."""
        char = self.text[self.position : self.position + 1]
        self.position += len(char)
        return char
