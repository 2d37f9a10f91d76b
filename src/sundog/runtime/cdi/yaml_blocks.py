"""YAML as generators write it to values, without a library.

Generators of CDI files indent blocks, write each scalar on one line, and quote only where they have
to.  This module reads that in a twentieth of the time that the library takes to be imported.  It
gives up on everything else, errors included, and the library decides.

So it must never give another value than the library; a test compares the two.
"""

from __future__ import annotations

from sundog.runtime.cdi.names import KIND_CHARACTERS
from sundog.runtime.cdi.yaml_scalar import plain_scalar

_BLOCK_LEVELS_LIMIT = 16
# A longer name than the library takes is left to it.
_BLOCK_KEY_LIMIT = 128
_BLOCK_KEY_CHARACTERS = KIND_CHARACTERS | {"/"}
# An unquoted scalar may have other characters, too, but none of these needs a closer look: only a
# colon before a blank, and what the scalar starts with.
_YAML_PLAIN_CHARACTERS = _BLOCK_KEY_CHARACTERS | frozenset(" :=+,@%~")
_YAML_PLAIN_STARTS = _BLOCK_KEY_CHARACTERS | frozenset("+~")


class NotBlocks(Exception):
    """The text has something that this module does not read."""


def parse_blocks(text: str) -> object:
    """Return the value of ``text``.  Raises NotBlocks."""
    if not text.isascii() or not text.replace("\n", "").isprintable():
        raise NotBlocks
    lines = []
    for number, line in enumerate(text.split("\n")):
        content = line.lstrip(" ")
        indent = len(line) - len(content)
        content = content.rstrip(" ")
        if not content or content[0] == "#" or (not number and line == "---"):
            continue
        lines.append((indent, content))
    if not lines:
        raise NotBlocks
    # A line that can't be part of a block ends all of them.
    lines.append((-1, ""))
    reader = _BlockReader(lines)
    value = reader.block(lines[0][0], _BLOCK_LEVELS_LIMIT)
    if reader.position != len(lines) - 1:
        raise NotBlocks
    return value


class _BlockReader:
    """Reads blocks from ``lines``, which are pairs of indentation and content."""

    __slots__ = ("lines", "position")

    def __init__(self, lines: list[tuple[int, str]]) -> None:
        self.lines = lines
        self.position = 0

    def block(self, indent: int, levels: int) -> object:
        """Read the list or the object whose lines are indented by ``indent``."""
        if not levels:
            raise NotBlocks
        content = self.lines[self.position][1]
        if content.startswith("- "):
            return self.sequence(indent, levels - 1)
        return self.mapping(indent, levels - 1)

    def sequence(self, indent: int, levels: int) -> list[object]:
        """Read a list."""
        values: list[object] = []
        while True:
            found, content = self.lines[self.position]
            if found != indent or not content.startswith("- "):
                self.check_end(indent)
                return values
            rest = content[2:].lstrip(" ")
            if rest[0] not in "\"'" and (": " in rest or rest[-1] == ":" or rest[:2] == "- "):
                # The rest is the first line of a block of its own.
                deeper = indent + len(content) - len(rest)
                self.lines[self.position] = deeper, rest
                values.append(self.block(deeper, levels))
            else:
                values.append(_block_scalar(rest))
                self.position += 1

    def mapping(self, indent: int, levels: int) -> dict[str, object]:
        """Read an object."""
        values: dict[str, object] = {}
        while True:
            found, content = self.lines[self.position]
            if found != indent or content.startswith("- "):
                self.check_end(indent)
                return values
            key, colon, rest = content.partition(":")
            if not colon or not _is_block_key(key) or key in values or (rest and rest[0] != " "):
                raise NotBlocks
            self.position += 1
            if rest:
                values[key] = _block_scalar(rest.lstrip(" "))
                continue
            deeper, content = self.lines[self.position]
            if deeper > indent or (deeper == indent and content.startswith("- ")):
                values[key] = self.block(deeper, levels)
            else:
                values[key] = None

    def check_end(self, indent: int) -> None:
        """Refuse a line that continues the one above it."""
        if self.lines[self.position][0] > indent:
            raise NotBlocks


def _is_block_key(key: str) -> bool:
    """Tell whether ``key`` is a name that needs no closer look."""
    if not 0 < len(key) <= _BLOCK_KEY_LIMIT or key[0] in "-.":
        return False
    return _BLOCK_KEY_CHARACTERS.issuperset(key)


def _block_scalar(word: str) -> object:
    """Return the value of a scalar that is alone on its line."""
    if word[0] in "\"'":
        inner = word[1:-1]
        if len(word) < 2 or word[-1] != word[0] or word[0] in inner or "\\" in inner:
            raise NotBlocks
        return inner
    if word == "{}":
        return {}
    if word == "[]":
        return []
    if word[0] not in _YAML_PLAIN_STARTS or not _YAML_PLAIN_CHARACTERS.issuperset(word):
        raise NotBlocks
    if word[-1] == ":" or ": " in word or word == "-" or word[:2] == "- ":
        raise NotBlocks
    return plain_scalar(word)
