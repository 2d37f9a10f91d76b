r"""Heredocs: the markers ``<<NAME`` in a line, and the heredocs as values.

Specification: the Dockerfile reference, “Here-Documents”; POSIX sh, 2.7.4, for the forms (``<<-``
strips leading tabs, a quoted name prevents expansion of the body); BuildKit's parser for the words
of a line that are markers.
"""

from __future__ import annotations

from dataclasses import dataclass

from sundog.image.dockerfile.words import raw_words, unquoted_words

_DIGITS_LIMIT = 9  # of a file descriptor


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A heredoc.

    ``content`` is the text in the file, from after the marker's line to the terminator, with tabs.
    ``expand`` says that no part of the name was quoted.
    """

    name: str
    content: str = ""
    expand: bool = True
    strip_tabs: bool = False
    file_descriptor: int = 0

    @property
    def body(self) -> str:
        """The content as the command sees it; for ``<<-``, without leading tabs."""
        if not self.strip_tabs:
            return self.content
        return "\n".join(line.lstrip("\t") for line in self.content.split("\n"))


def parse_marker(word: str) -> Heredoc | None:
    """Parse ``word`` as ``[fd]<<[-]NAME``: a heredoc without content; None if it is not a marker.

    Raises SubstitutionError if NAME is not a word.
    """
    digits, mark, name_text = word.partition("<<")
    strip_tabs = name_text.startswith("-")
    name_text = name_text.removeprefix("-")
    if not mark or "<" in name_text or digits.strip("0123456789") or len(digits) > _DIGITS_LIMIT:
        return None
    names = unquoted_words(name_text)
    if len(names) != 1:
        return None
    return Heredoc(
        name=names[0],
        # An escaped quote stays in the name.  A part was quoted only if quotes went away.
        expand=_quotes(names[0]) == _quotes(name_text),
        strip_tabs=strip_tabs,
        file_descriptor=int(digits or 0),
    )


def find_markers(line: str) -> list[tuple[str, Heredoc]]:
    """Return the markers in a line as written, with the heredocs that they announce.

    Raises SubstitutionError if the name of a marker is not a word.
    """
    if "<<" not in line:
        return []
    found = ((word, parse_marker(word)) for word in raw_words(line) if "<<" in word)
    return [(word, heredoc) for word, heredoc in found if heredoc is not None]


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')
