"""The parser of Dockerfiles: text to a ``Dockerfile``.

Specification: the Dockerfile reference (docker/dockerfile 1.x).  Where it is silent, BuildKit's
parser; the tests compare this parser with it.  No I/O: the caller reads the file.

    physical lines → ``lines`` → logical lines → ``statement`` → keyword, flags, arguments
                   → ``heredocs``              → ``grammar``   → ``instructions``
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sundog.errors import SubstitutionError
from sundog.image.dockerfile.expansion import expand_instruction
from sundog.image.dockerfile.grammar import HEREDOC_INSTRUCTIONS, build_instruction
from sundog.image.dockerfile.heredocs import find_markers
from sundog.image.dockerfile.instructions import Arg, From, Instruction, Place
from sundog.image.dockerfile.lines import DEFAULT_ESCAPE, Directive, LineReader, read_directives
from sundog.image.dockerfile.source import Fault, Source
from sundog.image.dockerfile.statement import Statement, json_strings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sundog.errors import DockerfileError
    from sundog.image.dockerfile.expansion import InstructionT
    from sundog.image.dockerfile.heredocs import Heredoc
    from sundog.image.dockerfile.lines import LogicalLine

SIZE_LIMIT = 16 << 20  # bytes of a Dockerfile
INSTRUCTIONS_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A Dockerfile that follows the grammar: ``ARG``… and then at least one ``FROM``."""

    path: str
    directives: tuple[Directive, ...]
    instructions: tuple[Instruction, ...]
    source: Source = field(compare=False, repr=False)

    @property
    def escape(self) -> str:
        r"""The escape character, ``\`` or a backquote."""
        return self.directive("escape") or DEFAULT_ESCAPE

    def directive(self, name: str) -> str:
        """Return the value of a parser directive; "" if it is not given."""
        values = (directive.value for directive in self.directives if directive.name == name)
        return next(values, "")

    def expand(self, instruction: InstructionT, variables: Mapping[str, str]) -> InstructionT:
        """Substitute variables where the instruction allows them; raise DockerfileError."""
        try:
            return expand_instruction(instruction, variables, self.escape)
        except SubstitutionError as error:
            raise self.error(instruction, error.message, hint=error.hint) from error

    def error(
        self, instruction: Instruction, message: str, *, near: str = "", hint: str = ""
    ) -> DockerfileError:
        """Make the error that shows ``instruction``; the marker is below ``near`` if that is found.

        For faults that show only when a build carries the instruction out.
        """
        for line in range(instruction.place.line, instruction.place.end_line + 1) if near else ():
            start = self.source.lines[line - 1].find(near)
            if start >= 0:
                return self.source.error(message, line, start, start + len(near), hint)
        return self.source.error(message, instruction.line, hint=hint)


def parse(text: str | bytes, *, path: str) -> Dockerfile:
    """Parse a Dockerfile; raise DockerfileError at the first fault.

    ``path`` is only for messages.  Bytes are decoded as UTF-8.  Bytes that are not UTF-8 become
    lone surrogates.
    """
    source = Source(text, path)
    if len(text) > SIZE_LIMIT:
        raise source.error(f"the file has more than {SIZE_LIMIT >> 20} MiB", len(source.lines))
    _refuse_nul(source)
    directives = read_directives(source)
    escapes = [directive.value for directive in directives if directive.name == "escape"]
    reader = LineReader(source, escapes[0] if escapes else DEFAULT_ESCAPE)
    instructions = tuple(_read_instructions(reader))
    if not instructions:
        raise source.error(
            "no instructions found", len(source.lines) + 1, hint="a Dockerfile begins with FROM"
        )
    if not any(isinstance(instruction, From) for instruction in instructions):
        raise source.error("no FROM instruction", instructions[-1].place.end_line)
    return Dockerfile(path, directives, instructions, source)


def _refuse_nul(source: Source) -> None:
    """Raise DockerfileError at a NUL character: no argument, name or value can hold one."""
    for number, line in enumerate(source.lines, 1):
        if (start := line.find("\0")) >= 0:
            is_wide = number == 1 and line.count("\0") * 3 > len(line)
            raise source.error(
                "a NUL character",
                number,
                start,
                start + 1,
                "save the file as UTF-8" if is_wide else "is this a Dockerfile?",
            )


def _read_instructions(reader: LineReader) -> Iterator[Instruction]:
    in_stage = False
    for count, (line, statement) in enumerate(read_statements(reader)):
        if count == INSTRUCTIONS_LIMIT:
            raise reader.source.error(f"more than {INSTRUCTIONS_LIMIT} instructions", line.line)
        try:
            instruction = build_instruction(statement, Place(line.line, line.end_line, line.text))
        except Fault as fault:
            raise line.error(fault) from fault
        in_stage = in_stage or isinstance(instruction, From)
        if not in_stage and not isinstance(instruction, Arg):
            raise reader.source.error(
                f"{instruction.name} before the first FROM",
                instruction.line,
                hint="only ARG may be before the first FROM",
            )
        yield instruction


def read_statements(reader: LineReader) -> Iterator[tuple[LogicalLine, Statement]]:
    """Read the statements one by one, with their heredocs; raise DockerfileError."""
    while line := reader.read():
        try:
            statement = Statement(line.text, reader.escape)
            if _may_hold_heredocs(statement):
                statement.heredocs = _read_heredocs(line, reader)
        except Fault as fault:
            raise line.error(fault) from fault
        yield line, statement


def _may_hold_heredocs(statement: Statement) -> bool:
    if statement.name == "ONBUILD" and statement.arguments.text:
        statement = statement.nested()
    return (
        statement.name in HEREDOC_INSTRUCTIONS
        and "<<" in statement.text
        and json_strings(statement.arguments) is None
    )


def _read_heredocs(line: LogicalLine, reader: LineReader) -> tuple[Heredoc, ...]:
    """Read the bodies of the heredocs that ``line`` announces; this moves the line's end."""
    try:
        markers = find_markers(line.text)
    except SubstitutionError as error:
        start = line.text.find("<<")
        raise Fault(f"heredoc: {error.message}", start, len(line.text)) from error
    heredocs = []
    for marker, heredoc in markers:
        found = reader.read_heredoc(heredoc.name, strip_tabs=heredoc.strip_tabs)
        if found is None:
            start = max(0, line.text.find(marker))
            raise Fault(
                f"heredoc {marker} is not terminated",
                start,
                start + len(marker),
                hint=f"end it with a line that has only {heredoc.name}",
            )
        content, line.end_line = found
        heredocs.append(replace(heredoc, content=content))
    return tuple(heredocs)
