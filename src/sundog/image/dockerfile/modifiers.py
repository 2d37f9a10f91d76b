r"""The modifiers of a variable in a word: what ``${name…}`` makes of the variable's value.

Specification: the Dockerfile reference, “Environment replacement”, and where it is silent, what
BuildKit's shell lexer does.  Patterns consist of ``*``, ``?`` and other characters.  Unlike in sh,
a ``*`` between quotes is still a wildcard; ``\*`` is an asterisk.

Values and patterns are bounded: small files must not make large values.

Pure: functions of values.
"""

from __future__ import annotations

from sundog.errors import SubstitutionError
from sundog.image.dockerfile.globs import Automaton, CharacterClass, Many, disjoint_matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sundog.image.dockerfile.globs import Token

VALUE_LIMIT = 16 << 20  # characters of an expanded word
_SHOWN = 200  # characters of a text in an error
_PATTERN_LIMIT = 1 << 14  # characters of a pattern
# Unlike in sh, no wildcard matches a newline.
_SEPARATOR = "\n"
_ONE = CharacterClass(((_SEPARATOR, _SEPARATOR),), negated=True)


def modified(name: str, value: str | None, colon: str, operator: str, word: str) -> str:
    """Apply a modifier of one character: ``- + ? # %``, where ``colon`` is ":" or "".

    ``value`` is None where the variable is unset; ``word`` is what stands behind the modifier.
    Raises SubstitutionError.
    """
    is_missing = value is None or (colon != "" and value == "")
    match operator:
        case "-":
            return word if value is None or is_missing else value
        case "+":
            return "" if is_missing else word
        case "?":
            if value is None:
                raise SubstitutionError(f"{name}: {shown(word) or 'is not allowed to be unset'}")
            if is_missing:
                raise SubstitutionError(f"{name}: {shown(word) or 'is not allowed to be empty'}")
            return value
    longest = word.startswith(operator)
    tokens = _tokens(word[1:] if longest else word)
    if operator == "#":
        return _without_prefix(value or "", tokens, longest=longest)
    backwards = _without_prefix((value or "")[::-1], tokens[::-1], longest=longest)
    return backwards[::-1]


def _without_prefix(value: str, tokens: Sequence[Token], *, longest: bool) -> str:
    end = Automaton([tokens], _SEPARATOR).end_of_match(value, longest=longest)
    return value[max(end, 0) :]


def substituted(value: str, pattern: str, replacement: str, *, everywhere: bool) -> str:
    """Replace the first match of ``pattern`` in ``value``, or each one; raise SubstitutionError."""
    tokens = _tokens(pattern)

    def pieces() -> Iterator[str]:
        position = 0
        for start, end in disjoint_matches(value, tokens, _SEPARATOR, everywhere=everywhere):
            yield value[position:start]
            yield replacement
            position = end
        yield value[position:]

    return bounded(pieces())


def _tokens(pattern: str) -> list[Token]:
    r"""Return the tokens of a pattern.

    A backslash escapes ``*``, ``?`` and itself.  Before ``}`` or ``/`` it only kept the lexer from
    stopping there.
    """
    if len(pattern) > _PATTERN_LIMIT:
        raise SubstitutionError(
            f"pattern {shown(pattern)}: longer than {_PATTERN_LIMIT} characters",
            "let a RUN do it, with the tools of the image",
        )
    tokens: list[Token] = []
    chars = iter(pattern)
    for char in chars:
        if char == "*":
            tokens.append(Many.STAR)
        elif char == "?":
            tokens.append(_ONE)
        elif char == "\\":
            escaped = next(chars, "")
            if not escaped or escaped not in "*?\\}/":
                raise SubstitutionError(
                    f"pattern {shown(pattern)}: invalid escape: \\{shown(escaped)}",
                    hint=r"patterns know \*, \? and \\",
                )
            tokens.append(escaped)
        else:
            tokens.append(char)
    return tokens


def bounded(pieces: Iterable[str]) -> str:
    """Join ``pieces``; raise SubstitutionError before they become too large."""
    total = 0
    joined = []
    for piece in pieces:
        total += len(piece)
        if total > VALUE_LIMIT:
            raise too_large()
        joined.append(piece)
    return "".join(joined)


def too_large() -> SubstitutionError:
    """Return the error about a value that is larger than any that somebody wants."""
    return SubstitutionError(
        f"substitution gives more than {VALUE_LIMIT >> 20} MiB",
        "do variables double each other's values?",
    )


def shown(text: str) -> str:
    """Return a text, or its beginning, on one line for a message."""
    return " ".join((text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…").split())
