r"""Heredocs: the markers ``<<NAME`` in a line, and the values that they become.

Specification: the Dockerfile reference, “Here-Documents”; POSIX sh, 2.7.4, from which the forms
come (``<<-`` strips leading tabs, a quoted name keeps the body from expansion); BuildKit's parser
for which words of a line are markers.
"""

from __future__ import annotations

from dataclasses import dataclass

from sundog.dockerfile.words import raw_words, unquoted_words

_MAX_DIGITS = 9  # of a file descriptor


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A heredoc.

    ``content`` is as in the file, from behind the line of the marker to the terminator, tabs
    included.  ``expand`` tells that no part of the name was quoted.
    """

    name: str
    content: str = ""
    expand: bool = True
    strip_tabs: bool = False
    file_descriptor: int = 0

    @property
    def body(self) -> str:
        """The content as the command sees it, leading tabs stripped for ``<<-``."""
        if not self.strip_tabs:
            return self.content
        return "\n".join(line.lstrip("\t") for line in self.content.split("\n"))


def parse_marker(word: str) -> Heredoc | None:
    """Read ``word`` as ``[fd]<<[-]NAME``: a heredoc without content; None if it is not that.

    Raises SubstitutionError if NAME is not a word.
    """
    digits, mark, name_text = word.partition("<<")
    strip_tabs = name_text.startswith("-")
    name_text = name_text.removeprefix("-")
    if not mark or "<" in name_text or digits.strip("0123456789") or len(digits) > _MAX_DIGITS:
        return None
    names = unquoted_words(name_text)
    if len(names) != 1:
        return None
    return Heredoc(
        name=names[0],
        # An escaped quote stays in the name: only where quotes went away is a part quoted.
        expand=_quotes(names[0]) == _quotes(name_text),
        strip_tabs=strip_tabs,
        file_descriptor=int(digits or 0),
    )


def find_markers(line: str) -> list[tuple[str, Heredoc]]:
    """Return the markers in a line as written, with the heredocs that they announce.

    Raises SubstitutionError if the name of one is not a word.
    """
    if "<<" not in line:
        return []
    found = ((word, parse_marker(word)) for word in raw_words(line) if "<<" in word)
    return [(word, heredoc) for word, heredoc in found if heredoc is not None]


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')
