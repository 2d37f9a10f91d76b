r"""Glob patterns, matched without backtracking: the common form of all patterns in Dockerfiles.

A pattern is a sequence of tokens.  ``wildcard`` parses Go's syntax, and ``words`` the shell's.
Several patterns together make one automaton.  It reads a text character by character.  It knows all
its possible places in all patterns, as the bits of a number.  So a text costs at most one step for
each of its characters, and a step looks at each token at most once, for every pattern.  The
automaton remembers steps, up to a bound of memory.

Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from enum import Enum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_REMEMBERED = 1 << 24  # bytes, approximately
_PER_STEP = 200  # bytes of a step without its places


class Many(Enum):
    """Tokens that match any number of characters, including none.

    ``STAR`` matches any characters but the separator.  ``ALL`` matches any characters.
    ``DIRECTORIES`` matches nothing, or characters that end with the separator.
    """

    STAR = "*"
    ALL = "**"
    DIRECTORIES = "**/"


@dataclass(frozen=True, slots=True)
class CharacterClass:
    """A token that matches one character: in ``ranges``, or (``negated``) in none of them."""

    ranges: tuple[tuple[str, str], ...]
    negated: bool = False

    def holds(self, char: str) -> bool:
        """Tell whether the class matches the character."""
        return any(low <= char <= high for low, high in self.ranges) != self.negated


if TYPE_CHECKING:
    # A part of a pattern; a text stands for that one character.
    Token = str | CharacterClass | Many


class Automaton:
    """Patterns that are matched together; each is a sequence of tokens.

    ``separator`` is the one character that ``STAR`` does not match.
    """

    def __init__(self, patterns: Sequence[Sequence[Token]], separator: str) -> None:
        self._separator = separator
        # A place is before a token, or at the end of a pattern.
        self._literals: dict[str, list[int]] = {}
        self._classes: list[tuple[CharacterClass, int]] = []
        self._ends: list[int] = []
        many: dict[Many, list[int]] = {kind: [] for kind in Many}
        starts = []
        place = 0
        for pattern in patterns:
            starts.append(place)
            for token in _shortened(pattern):
                if isinstance(token, str):
                    self._literals.setdefault(token, []).append(place)
                elif isinstance(token, CharacterClass):
                    self._classes.append((token, place))
                else:
                    many[token].append(place)
                    place += token is Many.DIRECTORIES  # inside the directories, and past them
                place += 1
            self._ends.append(place)
            place += 1
        self._size = place
        self._stars = self._bits(many[Many.STAR])
        self._skips = self._bits(many[Many.DIRECTORIES])
        self._until = self._skips << 1
        self._any = self._bits(many[Many.ALL]) | self._until
        self._free = self._bits(many[Many.ALL]) | self._stars | self._skips
        self._accepts = self._bits(self._ends)
        self._masks: dict[str, int] = {}
        self._states: dict[int, _State] = {}
        self._remembered = 0  # steps
        self._most = max(16, _REMEMBERED // (place // 4 + _PER_STEP))
        self._start = self._state(self._closed(self._bits(starts)))

    def last_match(self, path: str) -> int:
        """Return the number of the last pattern that matches ``path`` or a directory above it.

        Returns -1 if none does.
        """
        found = 0
        state = self._start
        for char in path:
            if char == self._separator:
                found |= state.places
            state = state[char]
        found = (found | state.places) & self._accepts
        return bisect_left(self._ends, found.bit_length() - 1) if found else -1

    def matches(self, text: str) -> bool:
        """Tell whether a pattern matches the whole of ``text``."""
        state = self._start
        for char in text:
            state = state[char]
        return bool(state.places & self._accepts)

    def end_of_match(self, text: str, start: int = 0, *, longest: bool) -> int:
        """Return the end of the longest, or the shortest, match from ``start`` on; -1: no match."""
        state = self._start
        end = -1
        for position in range(start, len(text) + 1):
            if state.places & self._accepts:
                end = position
                if not longest:
                    return end
            if not state.places or position == len(text):
                return end
            state = state[text[position]]
        return end

    def ends(self, text: str) -> bytearray:
        """Tell for each place in ``text``, including its end, whether a match ends there."""
        found = bytearray(len(text) + 1)
        state = self._start
        for position, char in enumerate(text):
            found[position] = bool(state.places & self._accepts)
            state = state[char]
        found[len(text)] = bool(state.places & self._accepts)
        return found

    def follow(self, places: int, char: str) -> _State:
        """Return the state after a character, from ``places`` on."""
        self._remembered += 1
        if self._remembered > self._most:
            self._forget()
        mask = self._masks.get(char)
        if mask is None:
            mask = self._masks[char] = self._mask(char)
        stays = self._any | (self._stars if char != self._separator else 0)
        return self._state(self._closed(places & stays | (places & mask) << 1))

    def _mask(self, char: str) -> int:
        """Return the places from which a character leads to the next place."""
        places = [place for each, place in self._classes if each.holds(char)]
        mask = self._bits(self._literals.get(char, []) + places)
        return mask | self._until if char == self._separator else mask

    def _bits(self, places: Sequence[int]) -> int:
        """Return places as the bits of a number."""
        bits = bytearray(self._size // 8 + 1)
        for place in places:
            bits[place // 8] |= 1 << place % 8
        return int.from_bytes(bits, "little")

    def _closed(self, places: int) -> int:
        """Add the places that are reached without a character; never more than a few in a row."""
        while True:
            more = places | (places & self._free) << 1 | (places & self._skips) << 2
            if more == places:
                return places
            places = more

    def _state(self, places: int) -> _State:
        state = self._states.get(places)
        if state is None:
            state = self._states[places] = _State(self, places)
        return state

    def _forget(self) -> None:
        for state in self._states.values():
            state.clear()
        self._states.clear()
        self._masks.clear()
        self._remembered = 0


class _State(dict[str, "_State"]):
    """A state of an automaton: its possible ``places``, and by character the next state."""

    __slots__ = ("automaton", "places")

    def __init__(self, automaton: Automaton, places: int) -> None:
        super().__init__()
        self.automaton = automaton
        self.places = places

    def __missing__(self, char: str) -> _State:
        following = self[char] = self.automaton.follow(self.places, char)
        return following


def _shortened(pattern: Sequence[Token]) -> Iterator[Token]:
    """Leave out a token that matches any number of characters next to an equal one."""
    last: Token = ""
    for token in pattern:
        if token is not last or not isinstance(token, Many):
            yield token
        last = token


def disjoint_matches(
    text: str, pattern: Sequence[Token], separator: str, *, everywhere: bool
) -> Iterator[tuple[int, int]]:
    """Return the longest matches of ``pattern`` in ``text`` that do not overlap.

    Without ``everywhere``, return only the first.  An empty match right after another does not
    count.
    """
    begins = Automaton([[Many.ALL, *reversed(pattern)]], separator).ends(text[::-1])[::-1]
    automaton = Automaton([pattern], separator)
    position, last = 0, -1
    while (start := begins.find(1, position)) >= 0:
        end = automaton.end_of_match(text, start, longest=True)
        position = max(end, start + (start == last))
        if start == end == last:
            continue
        yield start, end
        last = end
        if not everywhere:
            return
