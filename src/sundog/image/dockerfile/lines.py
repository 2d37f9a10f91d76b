"""Physical lines to logical ones: parser directives, comments, continuations, heredoc bodies.

Specification: the Dockerfile reference, “Format”, “Parser directives” and “Here-Documents”.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from sundog.image.dockerfile.blanks import BLANKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.errors import DockerfileError
    from sundog.image.dockerfile.source import Fault, Source

DEFAULT_ESCAPE = "\\"
ESCAPES = ("\\", "`")
INSTRUCTION_LIMIT = 1 << 20  # characters, without heredocs
DIRECTIVES = ("syntax", "escape", "check")


@dataclass(frozen=True, slots=True)
class Directive:
    """A parser directive: ``# name=value``, the name in lower case."""

    name: str
    value: str
    line: int


class LogicalLine:
    """One instruction's lines, joined; knows the origin of each of its characters.

    ``line`` and ``end_line`` are the first and the last physical line.  Heredocs count once they
    are read.
    """

    __slots__ = (
        "_columns",
        "_length",
        "_lines",
        "_offsets",
        "_pieces",
        "end_line",
        "line",
        "source",
    )

    def __init__(self, source: Source, line: int) -> None:
        self.source = source
        self.line = line
        self.end_line = line
        self._pieces: list[str] = []
        self._length = 0
        self._offsets: list[int] = []
        self._lines: list[int] = []
        self._columns: list[int] = []

    def append(self, text: str, line: int, column: int) -> None:
        """Add a piece that is at ``line`` and ``column`` of the source."""
        self._offsets.append(self._length)
        self._lines.append(line)
        self._columns.append(column)
        self._pieces.append(text)
        self._length += len(text)
        if self._length > INSTRUCTION_LIMIT:
            raise self.source.error(
                f"an instruction of more than {INSTRUCTION_LIMIT >> 20} MiB", self.line
            )

    @property
    def text(self) -> str:
        """All pieces, joined."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def locate(self, offset: int) -> tuple[int, int]:
        """Return the physical line and column of a character of ``text``."""
        piece = max(0, bisect_right(self._offsets, offset) - 1)
        return self._lines[piece], self._columns[piece] + offset - self._offsets[piece]

    def error(self, fault: Fault) -> DockerfileError:
        """Convert a fault to the error that shows its place; of several lines, the first."""
        line, start = self.locate(fault.start)
        end_line, end = self.locate(max(fault.start, fault.end - 1))
        end = end + 1 if end_line == line else len(self.source.lines[line - 1])
        return self.source.error(fault.message, line, start, end, fault.hint)


class LineReader:
    """Reads a source's logical lines in order; reads the heredocs between them on demand."""

    __slots__ = ("_next", "escape", "source")

    def __init__(self, source: Source, escape: str) -> None:
        self.source = source
        self.escape = escape
        self._next = 0

    def read(self) -> LogicalLine | None:
        """Return the next logical line; None at the end of the source."""
        lines = self.source.lines
        while self._next < len(lines):
            physical = lines[self._next].rstrip("\r")
            self._next += 1
            text = physical.lstrip(BLANKS)
            if text and text[0] != "#":
                logical = LogicalLine(self.source, self._next)
                if self._append(logical, text, len(physical) - len(text)):
                    self._continue(logical)
                logical.end_line = self._next
                return logical
        return None

    def _continue(self, logical: LogicalLine) -> None:
        """Add the lines that continue the first; drop comments and empty lines among them."""
        lines = self.source.lines
        while self._next < len(lines):
            text = lines[self._next].rstrip("\r")
            self._next += 1
            content = text.lstrip(BLANKS)
            if content and content[0] != "#" and not self._append(logical, text, 0):
                return

    def _append(self, logical: LogicalLine, text: str, column: int) -> bool:
        """Add a piece of the current line; tell whether the next line continues it."""
        body = text.rstrip(" \t")
        is_continued = body.endswith(self.escape) and not body.endswith(self.escape * 2)
        logical.append(body[:-1] if is_continued else text, self._next, column)
        return is_continued

    def read_heredoc(self, terminator: str, *, strip_tabs: bool) -> tuple[str, int] | None:
        """Return a heredoc's body as written and the line of its end; None if it does not end."""
        lines = self.source.lines
        for index in range(self._next, len(lines)):
            line = lines[index].rstrip("\r")
            if (line.lstrip("\t") if strip_tabs else line) == terminator:
                body = "".join(line + "\n" for line in lines[self._next : index])
                self._next = index + 1
                return body, self._next
        return None


def read_directives(source: Source) -> tuple[Directive, ...]:
    """Parse the parser directives at the top; raise DockerfileError.

    The first line that is not a directive ends them.  After that, a line that looks like a
    directive is a comment.
    """
    directives: dict[str, Directive] = {}
    for number, line in enumerate(source.lines, 1):
        name, _, value = line.strip(BLANKS).removeprefix("#").partition("=")
        name, value = name.strip(BLANKS).lower(), value.strip(BLANKS)
        if not line.lstrip(BLANKS).startswith("#") or name not in DIRECTIVES or not value:
            break
        if name in directives:
            raise source.error(
                f"parser directive {name!r} is given twice, first in line {directives[name].line}",
                number,
            )
        if name == "escape" and value not in ESCAPES:
            raise source.error(
                f"parser directive 'escape': {value!r} is not an escape character",
                number,
                hint="the escape character is \\ or `",
            )
        directives[name] = Directive(name, value, number)
    return tuple(directives.values())
