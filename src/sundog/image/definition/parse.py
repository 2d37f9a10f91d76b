"""The parser of definition files: text to a ``Definition``.

Specification: Apptainer's user guide, version 1.4, “Definition Files”.  Where it is silent,
Apptainer's own parser: ``Bootstrap:`` in the first column begins a stage, also inside a section;
a line whose first word begins with ``%`` begins a section; sections of one name are one.  No I/O:
the caller reads the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sundog.base.spelling import nearest
from sundog.errors import UsageError
from sundog.image.definition.template import (
    ROOM_LIMIT,
    Room,
    Values,
    name_and_value,
    substituted,
)
from sundog.image.definition.values import (
    APP_SECTIONS,
    SECTIONS,
    Definition,
    DefinitionStage,
    FilePair,
    FilesSection,
    HeaderValue,
    Line,
    Section,
)
from sundog.image.dockerfile.source import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sundog.errors import DockerfileError

SIZE_LIMIT = 16 << 20  # bytes of a definition file
STAGES_LIMIT = 1000
FILES = "files"
_ARGUMENTS = "arguments"
_STAGE = re.compile("bootstrap:", re.IGNORECASE)
_KEYWORDS = (
    *("bootstrap", "from", "includecmd", "mirrorurl", "updateurl", "osversion", "include"),
    *("library", "registry", "namespace", "stage", "product", "user", "regcode", "productpgp"),
    *("registerurl", "modules", "fingerprints", "confurl", "setopt", "target", "frontend"),
    *("filename", "buildargs"),
)
_NUMBERED = re.compile("otherurl[0-9]+")
_WORD = re.compile(r"""(?:[^\s"']|"[^"]*+"|'[^']*+')++""")
_QUOTED = re.compile(r""""([^"]*+)"|'([^']*+)'""")
_APP = re.compile("[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
_BLANKS = " \t\r\f\v"


def parse_definition(
    text: str | bytes,
    *,
    path: str,
    given: Mapping[str, str] | None = None,
    needs_header: bool = True,
) -> tuple[Definition, list[str]]:
    """Parse a definition file; return it, and the names in ``given`` that it does not use.

    ``given`` are the values of ``--build-arg``.  ``path`` is only for messages.  Bytes that are not
    UTF-8 become lone surrogates.  Without ``needs_header``, a stage may have sections alone.
    Raises DockerfileError at the first fault.
    """
    source = Source(text, path)
    if len(text) > SIZE_LIMIT:
        raise source.error(f"the file has more than {SIZE_LIMIT >> 20} MiB", len(source.lines))
    for number, line in enumerate(source.lines, 1):
        if (start := line.find("\0")) >= 0:
            raise source.error("a NUL character", number, start, start + 1, "is this a text?")
    used: set[str] = set()
    stages: list[DefinitionStage] = []
    room = Room(ROOM_LIMIT)
    for lines in _stages(source):
        if len(stages) == STAGES_LIMIT:
            raise source.error(f"more than {STAGES_LIMIT} stages", lines[0].number)
        reader = _StageReader(source, lines, needs_header=needs_header)
        stage, consumed = reader.read(given or {}, room)
        stages.append(stage)
        used |= consumed
    if not stages:
        raise source.error(
            "the definition file is empty",
            len(source.lines) + 1,
            hint="it begins with Bootstrap: docker, for example",
        )
    whole = "".join(f"{line}\n" for line in source.lines)
    definition = Definition(path, tuple(stages), whole, source)
    _check_names(definition)
    return definition, sorted((given or {}).keys() - used)


def _stages(source: Source) -> Iterable[list[Line]]:
    """Divide the lines at each ``Bootstrap:``; leave out what has only blanks and comments."""
    parts: list[list[Line]] = [[]]
    for number, text in enumerate(source.lines, 1):
        if _STAGE.match(text) and parts[-1]:
            parts.append([])
        parts[-1].append(Line(number, text.removesuffix("\r")))
    for part in parts:
        if any(not _is_blank(line.text) for line in part):
            yield part


def _is_blank(text: str) -> bool:
    text = text.strip()
    return not text or text.startswith("#")


def _check_names(definition: Definition) -> None:
    """Raise DockerfileError for a name of two stages, or of one that is none before."""
    known: set[str] = set()
    for stage in definition.stages:
        for files in stage.files:
            if files.stage and files.stage not in known:
                close = nearest(files.stage, known)
                hint = f"did you mean {close}?" if close else "name an earlier stage"
                raise definition.source.error(
                    f"%files: no earlier stage: {files.stage}", files.line, hint=hint
                )
        name = stage.headers.get("stage")
        if name is not None and name.text:
            if name.text in known:
                raise definition.source.error(f"two stages of the name {name.text}", name.line)
            known.add(name.text)


@dataclass(slots=True)
class _Open:
    """A section that still grows."""

    name: str
    words: str
    line: int
    lines: list[Line]


class _StageReader:
    """The reader of the lines of one stage."""

    def __init__(self, source: Source, lines: Sequence[Line], *, needs_header: bool) -> None:
        self._source = source
        self._lines = lines
        self._needs_header = needs_header

    def read(self, given: Mapping[str, str], room: Room) -> tuple[DefinitionStage, set[str]]:
        """Return the stage, and the names of the values that it uses."""
        values = Values(given, self._defaults(), room)
        lines = substituted(self._lines, values, self._fault)
        header, sections = self._divided(lines)
        headers = self._headers(header)
        if self._needs_header and "bootstrap" not in headers:
            raise self._source.error(
                "no Bootstrap before this",
                (sections[0].line if sections else lines[0].number),
                hint="a stage begins with Bootstrap: AGENT in the first column",
            )
        merged: dict[str, _Open] = {}
        files: dict[str, list[FilePair]] = {}
        files_lines: dict[str, int] = {}
        apps: dict[str, None] = {}
        for section in sections:
            name, *rest = section.name.split(" ")
            if name == FILES:
                origin = self._stage_of_files(section)
                files_lines.setdefault(origin, section.line)
                files.setdefault(origin, []).extend(self._pairs(section.lines, "%files"))
                continue
            if rest:
                apps[rest[0]] = None
            known = merged.get(section.name)
            if known is None:
                merged[section.name] = section
            else:
                known.lines.extend(section.lines)
                known.words = section.words or known.words
        stage = DefinitionStage(
            lines[0].number,
            headers,
            {
                name: Section(name, each.words, each.line, tuple(each.lines))
                for name, each in merged.items()
            },
            tuple(
                FilesSection(files_lines[origin], origin, tuple(pairs))
                for origin, pairs in files.items()
            ),
            tuple(apps),
            "".join(f"{line.text}\n" for line in lines),
        )
        return stage, values.used

    def _fault(self, message: str, line: int, hint: str) -> DockerfileError:
        return self._source.error(message, line, hint=hint)

    def _defaults(self) -> dict[str, str]:
        """Return the values in the sections ``%arguments`` of the stage."""
        defaults = {}
        for section in self._divided(self._lines)[1]:
            if section.name != _ARGUMENTS:
                continue
            for line in section.lines:
                if _is_blank(line.text):
                    continue
                name, value = name_and_value(line.text)
                if not name:
                    raise self._source.error(
                        "%arguments: not NAME=VALUE", line.number, hint="write NAME=VALUE"
                    )
                defaults[name] = value
        return defaults

    def _divided(self, lines: Sequence[Line]) -> tuple[list[Line], list[_Open]]:
        """Divide the lines into the header and the sections."""
        header: list[Line] = []
        sections: list[_Open] = []
        for line in lines:
            if line.text.lstrip(_BLANKS).startswith("%"):
                sections.append(self._begun(line))
            else:
                (sections[-1].lines if sections else header).append(line)
        return header, sections

    def _begun(self, line: Line) -> _Open:
        """Return the section that a line begins."""
        if not line.text.startswith("%"):
            raise self._source.error(
                "a % that begins a line begins a section, and here blanks are before it",
                line.number,
                hint="write a section in the first column, and begin other lines otherwise",
            )
        keyword, _, words = line.text.lstrip("%").partition(" ")
        keyword = keyword.strip().lower()
        words = words.strip()
        if keyword in SECTIONS:
            return _Open(keyword, words, line.number, [])
        if keyword not in APP_SECTIONS:
            close = nearest(keyword, (*SECTIONS, *APP_SECTIONS))
            hint = f"did you mean %{close}?" if close else f"one of: %{' %'.join(SECTIONS)}"
            raise self._source.error(f"no such section: %{keyword}", line.number, hint=hint)
        app = words.partition("#")[0].split()
        if len(app) != 1 or not _APP.fullmatch(app[0]):
            raise self._source.error(
                f"%{keyword} needs the name of an app",
                line.number,
                hint=f"write %{keyword} NAME, of letters, digits and . _ + -",
            )
        return _Open(f"{keyword} {app[0]}", "", line.number, [])

    def _headers(self, lines: Sequence[Line]) -> dict[str, HeaderValue]:
        """Return the values of the header's keywords."""
        headers: dict[str, HeaderValue] = {}
        keyword = ""
        pieces: list[str] = []
        for line in lines:
            if _is_blank(line.text):
                if keyword:
                    headers[keyword] = HeaderValue(headers[keyword].line, "".join(pieces))
                keyword, pieces = "", []
                continue
            text = line.text.partition("#")[0].strip()
            if not keyword:
                keyword, pieces = self._keyword(line, text, headers)
                text = pieces.pop()
            if text.endswith("\\"):
                text = text[:-1]
                pieces.append(text[:-2] + "\n" if text.endswith("\\n") else text)
                continue
            headers[keyword] = HeaderValue(headers[keyword].line, "".join([*pieces, text]))
            keyword, pieces = "", []
        if keyword:
            headers[keyword] = HeaderValue(headers[keyword].line, "".join(pieces))
        return headers

    def _keyword(
        self, line: Line, text: str, headers: dict[str, HeaderValue]
    ) -> tuple[str, list[str]]:
        """Note the keyword of a header's line; return it, and the value so far."""
        keyword, colon, value = text.partition(":")
        keyword = keyword.strip().lower()
        if not colon:
            raise self._source.error(
                "neither KEYWORD: VALUE nor a section", line.number, hint="a section begins with %"
            )
        if keyword not in _KEYWORDS and not _NUMBERED.fullmatch(keyword):
            close = nearest(keyword, _KEYWORDS)
            hint = f"did you mean {close}?" if close else f"one of: {' '.join(_KEYWORDS)}"
            raise self._source.error(f"no such keyword: {keyword}", line.number, hint=hint)
        if not headers and keyword != "bootstrap":
            raise self._source.error(
                f"{keyword} before Bootstrap", line.number, hint="Bootstrap is the first keyword"
            )
        headers[keyword] = HeaderValue(line.number, "")
        return keyword, [value.strip()]

    def _stage_of_files(self, section: _Open) -> str:
        words = section.words.partition("#")[0].split()
        if not words:
            return ""
        if len(words) != 2 or words[0] != "from":
            raise self._source.error(
                f"%files takes no {' '.join(words)}", section.line, hint="write %files from STAGE"
            )
        return words[1]

    def _pairs(self, lines: Iterable[Line], what: str) -> list[FilePair]:
        return [pair for line in lines if (pair := file_pair(self._source, line, what)) is not None]


def file_pair(source: Source, line: Line, what: str) -> FilePair | None:
    """Read a line of ``%files`` or ``%appfiles``; return None for a comment.

    Raises DockerfileError.
    """
    if _is_blank(line.text):
        return None
    words: list[str] = []
    at, end = 0, len(line.text)
    while at < end:
        if line.text[at].isspace():
            at += 1
            continue
        if line.text[at] == "#" and words:
            break
        found = _WORD.match(line.text, at)
        at = end if found is None else found.end()
        if found is None or line.text[at : at + 1] in ("'", '"'):
            raise source.error(f"{what}: a quote without end", line.number)
        words.append(_QUOTED.sub(lambda quoted: quoted[1] or quoted[2] or "", found[0]))
    if len(words) > 2 or not all(words):
        raise source.error(
            f"{what}: neither SOURCE nor SOURCE DESTINATION",
            line.number,
            hint="put double quotes around a path with blanks",
        )
    return FilePair(line.number, words[0], words[1] if len(words) > 1 else "")


def read_labels(lines: Iterable[Line]) -> dict[str, str]:
    """Read the lines of ``%labels``: a name up to the first blank, and a value."""
    labels = {}
    for line in lines:
        if not _is_blank(line.text):
            name, *value = line.text.strip().split(None, 1)
            labels[name] = value[0] if value else ""
    return labels


def refuse_unused(unused: Sequence[str]) -> None:
    """Raise UsageError for values of ``--build-arg`` that a definition file does not name."""
    if unused:
        raise UsageError(
            f"--build-arg: not used: {' '.join(unused)}",
            "--warn-unused-build-args makes this a warning",
        )
