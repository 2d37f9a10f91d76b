"""The input of the rules: the instructions of a Dockerfile with their text; and findings.

Knows no rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sundog.image.dockerfile.instructions import From
from sundog.image.dockerfile.lines import LineReader
from sundog.image.dockerfile.parse import read_statements
from sundog.image.dockerfile.source import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sundog.image.dockerfile.ignore import PathPatterns
    from sundog.image.dockerfile.instructions import Instruction
    from sundog.image.dockerfile.lines import LogicalLine
    from sundog.image.dockerfile.parse import Dockerfile
    from sundog.image.dockerfile.source import Source
    from sundog.image.dockerfile.statement import Statement, Word

    Rule = Callable[["Subject"], Iterator["Finding"]]


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault that a rule found in ``line``; ``lines`` show the place in the form of errors."""

    rule: str
    line: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return the lines as one text."""
        return "\n".join(self.lines)


@dataclass(frozen=True, slots=True)
class Written:
    """An instruction and its text."""

    instruction: Instruction
    statement: Statement
    logical: LogicalLine

    def finding(self, rule: str, message: str, word: Word | None = None) -> Finding:
        """Make the finding that marks ``word``; by default, the keyword."""
        word = word or self.statement.keyword
        error = self.logical.error(Fault(f"{rule}: {message}", word.start, word.end))
        return Finding(rule, error.line, tuple(error.lines()))

    def finding_near(self, rule: str, message: str, *texts: str) -> Finding:
        """Make the finding that marks the first of ``texts`` that the instruction contains."""
        for text in texts:
            start = self.logical.text.find(text)
            if start >= 0:
                fault = Fault(f"{rule}: {message}", start, start + len(text))
                error = self.logical.error(fault)
                return Finding(rule, error.line, tuple(error.lines()))
        return self.finding(rule, message)


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a build that the rules need beside the Dockerfile.

    ``base_environment`` returns the variables of an image, or None if the image is not known.
    ``ignored`` are the patterns of the file ``ignore_file``.
    """

    build_args: Mapping[str, str] = field(default_factory=dict)
    base_environment: Callable[[str], Mapping[str, str] | None] = lambda _: None
    ignored: PathPatterns | None = None
    ignore_file: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """The Dockerfile to check: the instructions before the first FROM, and the stages."""

    dockerfile: Dockerfile
    facts: Facts
    arguments: tuple[Written, ...]
    stages: tuple[tuple[Written, ...], ...]

    @classmethod
    def of(cls, dockerfile: Dockerfile, facts: Facts) -> Subject:
        """Read the text of the instructions of ``dockerfile``."""
        reader = LineReader(dockerfile.source, dockerfile.escape)
        written = [
            Written(instruction, statement, logical)
            for instruction, (logical, statement) in zip(
                dockerfile.instructions, read_statements(reader), strict=True
            )
        ]
        arguments: list[Written] = []
        stages: list[list[Written]] = []
        for item in written:
            if isinstance(item.instruction, From):
                stages.append([])
            (stages[-1] if stages else arguments).append(item)
        return cls(dockerfile, facts, tuple(arguments), tuple(map(tuple, stages)))

    @property
    def source(self) -> Source:
        """Return the text of the file."""
        return self.dockerfile.source

    def all(self) -> Iterator[Written]:
        """Yield all instructions."""
        yield from self.arguments
        for stage in self.stages:
            yield from stage

    def starts(self) -> Iterator[tuple[Written, From]]:
        """Yield each FROM, with its text and as a value."""
        for stage in self.stages:
            start = stage[0].instruction
            assert isinstance(start, From)
            yield stage[0], start
