"""A logical line to its parts: keyword, flags, arguments; and the forms of arguments.

Specification: the Dockerfile reference, “Format”, “Exec form”, “Shell form”; BuildKit's parser for
quotes: flags lose their quotes here, arguments keep theirs for ``words``.  This module knows no
instruction.
"""

from __future__ import annotations

import json
import re

from sundog.image.dockerfile.blanks import BLANKS, SEPARATORS
from sundog.image.dockerfile.source import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.dockerfile.heredocs import Heredoc

_SEPARATOR = re.compile(f"[{SEPARATORS}]+")
_ARGUMENT = re.compile(f"[^{SEPARATORS}]+")
# "\\ud800" is JSON, but not text.  Surrogates that stand for bytes that are not UTF-8 are allowed.
_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


class Word:
    """A piece of a logical line, and its place in the line."""

    __slots__ = ("start", "text")

    def __init__(self, text: str, start: int) -> None:
        self.text = text
        self.start = start

    @property
    def end(self) -> int:
        """The offset after the word."""
        return self.start + len(self.text)

    def fault(self, message: str, hint: str = "") -> Fault:
        """Make the fault that marks this word."""
        return Fault(message, self.start, self.end, hint)


class Flag:
    """``--name`` (``value`` is None) or ``--name=value``; ``word`` is the flag as written."""

    __slots__ = ("name", "value", "word")

    def __init__(self, word: Word) -> None:
        self.word = word
        name, equals, value = _unquoted(word.text).partition("=")
        self.name = name[2:]
        self.value = value if equals else None


class Statement:
    """An instruction split into its parts; ``arguments`` is everything after keyword and flags.

    ``text`` is the logical line; the offsets refer to it.
    """

    __slots__ = ("arguments", "escape", "flags", "heredocs", "keyword", "text")

    def __init__(self, text: str, escape: str, start: int = 0) -> None:
        """Split ``text`` from ``start`` on; raise Fault if it is blank."""
        end = len(text.rstrip(BLANKS))
        start += len(text[start:]) - len(text[start:].lstrip(BLANKS))
        keyword = _ARGUMENT.match(text, start, end)
        if not keyword:
            raise Fault("no instruction follows the line continuation", 0, len(text))
        self.text = text
        self.escape = escape
        self.keyword = Word(keyword[0], start)
        self.flags: list[Flag] = []
        self.heredocs: tuple[Heredoc, ...] = ()
        position = self._read_flags(_skip(text, keyword.end(), end), end)
        self.arguments = Word(text[position:end], position)

    def _read_flags(self, position: int, end: int) -> int:
        """Parse the flags from ``position`` on; return the offset of the arguments."""
        while self.text.startswith("--", position):
            start = position
            stop = min(_word_end(self.text, start, end, "\\"), end)
            position = _skip(self.text, stop, end)
            flag = Flag(Word(self.text[start:stop], start))
            if not flag.name and flag.value is None:
                break  # "--" ends the flags
            self.flags.append(flag)
        return position

    @property
    def name(self) -> str:
        """The keyword in upper case."""
        return self.keyword.text.upper()

    def fault(self, message: str, hint: str = "") -> Fault:
        """Make the fault that marks the arguments, or the place where they are missing."""
        if self.arguments.text:
            return self.arguments.fault(message, hint)
        end = self.flags[-1].word.end if self.flags else self.keyword.end
        return Fault(message, end, end, hint)

    def string(self) -> Word:
        """Return the arguments as one text; raise Fault if there are none."""
        if not self.arguments.text:
            raise self.fault(f"{self.name} needs an argument")
        return self.arguments

    def nested(self) -> Statement:
        """Split the arguments as a statement of their own; raise Fault if there are none."""
        return Statement(self.text, self.escape, self.string().start)

    def separated(self) -> list[Word]:
        """Split the arguments at all blanks, including quoted ones."""
        start = self.arguments.start
        found = _ARGUMENT.finditer(self.arguments.text)
        return [Word(match[0], start + match.start()) for match in found]

    def quoted(self) -> list[Word]:
        """Split the arguments at blanks that are neither quoted nor escaped.

        A quote that is not closed includes the rest of the line; ``words`` reports it.
        """
        return self._quoted_from(self.arguments.start)

    def options_and_arguments(self) -> list[Word]:
        """Split everything after the keyword as ``quoted``, or take a JSON array of strings."""
        start = _skip(self.text, self.keyword.end, self.arguments.end)
        strings = json_strings(Word(self.text[start : self.arguments.end], start))
        if strings is None:
            return self._quoted_from(start)
        return [Word(text, start) for text in strings]

    def _quoted_from(self, position: int) -> list[Word]:
        words = []
        end = self.arguments.end
        while position < end:
            stop = _word_end(self.text, position, end, self.escape, literal_quote="'")
            if stop > end:
                end -= 1  # an escape character that escapes nothing does not belong to the word
            if position < end:
                words.append(Word(self.text[position : min(stop, end)], position))
            position = _skip(self.text, stop, end)
        return words

    def list_or_json(self) -> list[Word]:
        """Parse the arguments as a JSON array of strings; otherwise split them at blanks."""
        strings = json_strings(self.arguments)
        if strings is None:
            return self.separated()
        return [Word(text, self.arguments.start) for text in strings]

    def pairs(self) -> list[tuple[str, str]]:
        """Parse ``name=value…``, or the older ``name value`` with one value to the line's end."""
        words = self.quoted()
        if not words:
            raise self.fault(f"{self.name} needs an argument", hint=f"{self.name} NAME=VALUE")
        if "=" not in words[0].text:
            name, *rest = _SEPARATOR.split(self.arguments.text, maxsplit=1)
            if not rest:
                raise words[0].fault(
                    f"{self.name} needs a value for {name}", hint=f"{self.name} {name}=VALUE"
                )
            return [(name, rest[0])]
        pairs = []
        for word in words:
            name, equals, value = word.text.partition("=")
            if not equals:
                hint = comment_hint([word]) or "a value with blanks needs quotes"
                raise word.fault(f"{self.name}: no '=' in {word.text!r}", hint)
            if not name:
                raise word.fault(f"{self.name}: no name before '='")
            pairs.append((name, value))
        return pairs


def json_strings(arguments: Word) -> list[str] | None:
    """Parse a JSON array of strings; return None if the text is not a JSON array.

    Raises Fault for an array of other values.
    """
    if not arguments.text.startswith("["):
        return None
    try:
        array = json.loads(arguments.text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(item, str) for item in array):
        raise arguments.fault("a JSON array must hold only strings", hint='as in ["/bin/ls", "-l"]')
    if any("\0" in item for item in array):
        raise arguments.fault("a NUL character, which no argument, name or value can hold")
    return [_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", item) for item in array]


def comment_hint(words: list[Word]) -> str:
    """Return a hint if one of the arguments looks like a comment, else ""."""
    is_comment = any(word.text.startswith("#") for word in words)
    return "a comment needs a line of its own" if is_comment else ""


def _skip(text: str, position: int, end: int) -> int:
    """Return the offset of the next character that is not a blank."""
    while position < end and text[position] in BLANKS:
        position += 1
    return min(position, end)


def _word_end(text: str, start: int, end: int, escape: str, *, literal_quote: str = "") -> int:
    """Return the end of the word that begins at ``start``: a blank, neither quoted nor escaped.

    Inside ``literal_quote``, the escape character has no meaning.  A result greater than ``end``
    says that the last character is an escape that escapes nothing.
    """
    quote = ""
    position = start
    while position < end:
        char = text[position]
        if char == escape and not (quote and quote == literal_quote):
            position += 1
        elif quote:
            if char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
        elif char in BLANKS:
            break
        position += 1
    return position


def _unquoted(text: str) -> str:
    r"""Remove quotes and escapes as in flags; the escape character there is always ``\``."""
    result = ""
    quote = ""
    chars = iter(text)
    for char in chars:
        if char == "\\":
            result += next(chars, "")
        elif quote:
            if char == quote:
                quote = ""
            else:
                result += char
        elif char in "'\"":
            quote = char
        else:
            result += char
    return result


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python accepts but JSON does not have."""
    raise ValueError(name)
