r""".dockerignore: the files of a build context that a build does not see.

Specification: Docker's documentation, “Build context”, “.dockerignore files”.  Where it leaves
room, the matcher that the builders share (github.com/moby/patternmatcher).  A pattern matches like
Go's ``filepath.Match``, and ``**`` matches any number of directories.  A pattern that matches a
directory matches everything in it.  If several patterns match, the last one decides, and ``!``
makes an exception.  ``COPY --exclude`` and ``COPY --parents`` use the same patterns.

Pure: the caller passes the text and the paths.  A path is relative, without ``.`` and ``..``.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import cached_property

from sundog.image.dockerfile.globs import Automaton, Many
from sundog.image.dockerfile.wildcard import SEPARATOR, PatternError, compiled, tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sundog.image.dockerfile.globs import Token

_EXCEPTION = "!"
_COMMENT = "#"


def read_ignore_file(text: bytes) -> list[str]:
    """Return the patterns in an ignore file, cleaned; exceptions keep their ``!``.

    Bytes that are not UTF-8 become lone surrogates.
    """
    patterns = []
    for line in text.decode("utf-8", "surrogateescape").removeprefix("\ufeff").split("\n"):
        if line.startswith(_COMMENT):  # only at the start: " #a" is a name
            continue
        pattern = line.strip()
        if not pattern:
            continue
        mark = _EXCEPTION if pattern.startswith(_EXCEPTION) else ""
        patterns.append(mark + _clean(pattern.removeprefix(mark).strip()))
    return patterns


def _clean(pattern: str) -> str:
    """Shorten a pattern as Go's ``filepath.Clean`` does; it starts at the context's root."""
    if not pattern:
        return ""
    path = re.sub("^/+", "/", posixpath.normpath(pattern))
    return path[1:] if len(path) > 1 and path.startswith("/") else path


class PathPatterns:
    """An ordered list of patterns, such as ``read_ignore_file`` returns."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Take the patterns; raise PatternError at the first malformed one."""
        self._all = [_Pattern.parse(pattern) for pattern in patterns if pattern.strip()]
        self._exceptions = [pattern for pattern in self._all if pattern.is_exception]
        self._patterns = [pattern for pattern in self._all if not pattern.is_exception]
        self._automaton = Automaton([pattern.tokens for pattern in self._all], SEPARATOR)

    def __bool__(self) -> bool:
        return bool(self._all)

    def match(self, path: str) -> bool:
        """Tell whether the patterns match ``path``, or a directory above it, without exception."""
        last = self._automaton.last_match(path)
        return last >= 0 and not self._all[last].is_exception

    def may_match_below(self, directory: str) -> bool:
        """Tell whether a pattern may match something in ``directory``, which does not match."""
        return any(pattern.may_match_below(directory) for pattern in self._patterns)

    def may_except_below(self, directory: str) -> bool:
        """Tell whether an exception may match in ``directory``, which is not an exception."""
        return any(pattern.may_match_below(directory) for pattern in self._exceptions)


@dataclass(frozen=True)
class _Pattern:
    """One pattern: its text without the ``!``, and its tokens."""

    text: str
    is_exception: bool
    tokens: list[Token]

    @classmethod
    def parse(cls, pattern: str) -> _Pattern:
        text = pattern.strip()
        is_exception = text.startswith(_EXCEPTION)
        text = _clean(text.removeprefix(_EXCEPTION))
        if not text:
            raise PatternError(f"{_EXCEPTION} without a pattern")
        return cls(text, is_exception, _tokens(text))

    @cached_property
    def _prefix(self) -> tuple[list[Automaton], bool]:
        """The components before the first ``**``, and whether there is one."""
        components: list[Automaton] = []
        for component in self.text.split("/"):
            if "**" in component:
                return components, True
            components.append(compiled(component))
        return components, False

    def may_match_below(self, directory: str) -> bool:
        """Tell whether this may match a path in ``directory`` without matching ``directory``."""
        components, is_deep = self._prefix
        names = directory.split("/") if directory else []
        if not is_deep and len(components) <= len(names):
            return False
        return all(
            component.matches(name) for component, name in zip(components, names, strict=False)
        )


def _tokens(pattern: str) -> list[Token]:
    """Return the tokens of ``pattern``; raise PatternError.

    At the start of a pattern without other wildcards, ``**`` may also end within a name.
    """
    rest = pattern[2:]
    if pattern.startswith("**") and rest[:1] != "/" and not re.search(r"[*?\[\\]", rest):
        return [Many.ALL, *rest]
    return tokens(pattern, deep=True)
