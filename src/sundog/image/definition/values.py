"""The stages of a definition file as values: headers, sections, the lines of ``%files``.

Specification: Apptainer's user guide, version 1.4, “Definition Files”.  Values only: ``parse``
makes them, and ``builder/definition`` carries them out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.image.dockerfile.source import Source

# The sections of a stage, and those of an app, which have its name behind theirs.
SECTIONS = (
    *("help", "setup", "files", "labels", "environment", "pre", "post", "runscript", "test"),
    *("startscript", "arguments"),
)
APP_SECTIONS = (
    *("appinstall", "applabels", "appfiles", "appenv", "apptest", "apphelp", "apprun", "appstart"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the file: its number, from 1, and its text without the newline."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """A section; those of one name are one, with the words behind the last name.

    ``line`` is that of its first name.  ``end_line`` is its last line.
    """

    name: str
    words: str
    line: int
    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        """The text, as far as it was written."""
        return "".join(f"{line.text}\n" for line in self.lines)

    @property
    def end_line(self) -> int:
        """The number of the last line."""
        return self.lines[-1].number if self.lines else self.line


@dataclass(frozen=True, slots=True)
class FilePair:
    """A line of ``%files``: ``destination`` is "" if the line has none."""

    line: int
    source: str
    destination: str


@dataclass(frozen=True, slots=True)
class FilesSection:
    """All ``%files`` of one stage with the same ``stage`` to copy from; "" is the host."""

    line: int
    stage: str
    pairs: tuple[FilePair, ...]


@dataclass(frozen=True, slots=True)
class HeaderValue:
    """The value of a keyword in a header, and its line."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class DefinitionStage:
    """A stage: ``headers`` by their keyword in lower case, ``sections`` by their name.

    The section of an app has the key ``apprun NAME``.  ``apps`` are the names of apps in the order
    of the file.  ``text`` is that of the whole stage, after substitution.
    """

    line: int
    headers: Mapping[str, HeaderValue]
    sections: Mapping[str, Section]
    files: tuple[FilesSection, ...]
    apps: tuple[str, ...]
    text: str

    def header(self, keyword: str) -> str:
        """Return the value of a keyword in lower case; "" if it is not given."""
        found = self.headers.get(keyword)
        return "" if found is None else found.text

    def section(self, name: str, app: str = "") -> Section | None:
        """Return a section with more than blanks in it; None if there is none."""
        found = self.sections.get(f"{name} {app}" if app else name)
        return found if found is not None and found.text.strip() else None


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition file: its stages after substitution, and its text before."""

    path: str
    stages: tuple[DefinitionStage, ...]
    text: str
    source: Source = field(compare=False, repr=False)
