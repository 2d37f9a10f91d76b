"""Make manual pages from docs/ch-image.md and docs/sundog.md when the wheel is built.

It knows only the Markdown of these documents: headings, paragraphs, fenced code, tables of two
columns, `code`, *emphasis* and links. This module imports nothing of ``sundog``: it runs while the
package is built.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

INLINE = re.compile(
    r"`` (?P<ticks>.+?) ``|`(?P<code>[^`]+)`|\*(?P<emphasis>[^*]+)\*|\[(?P<link>[^]]+)\]\([^)]*\)"
)
# The argument in the entry of an option: --tag NAME, --force[=MODE].
ARGUMENT = re.compile(r"(?<=[ =\[,:])[A-Z]+(?:_[A-Z]+)*")


def page(document: str) -> str:
    """Convert ``document`` to a manual page."""
    title, synopsis, rest = document.split("```\n", 2)
    name, summary = title.removeprefix("# ").rstrip(".\n").split("\n\n")
    lines = [
        f'.TH {plain(name).upper()} 1 "" Sundog "Sundog manual"',
        ".SH NAME",
        f"{plain(name)} \\- {plain(summary[0].lower() + summary[1:])}",
        ".SH SYNOPSIS",
        *code(synopsis),
        ".SH DESCRIPTION",
        *body(rest),
    ]
    return "\n".join(lines) + "\n"


def body(text: str) -> Iterator[str]:
    """Yield the lines of the page for ``text``."""
    # The parts with odd numbers are fenced code.
    for number, part in enumerate(re.split(r"^```\n", text, flags=re.MULTILINE)):
        if number % 2:
            yield from code(part)
            continue
        for block in filter(None, re.split(r"\n\n+", part.strip())):
            yield from prose(block.splitlines())


def code(text: str) -> Iterator[str]:
    """Yield the lines of the page for fenced code, which stays unchanged."""
    yield from [".PP", ".RS 4", ".nf", "\\fB\\"]
    yield from (guarded(plain(line)) for line in text.splitlines())
    yield from ["\\fR\\", ".fi", ".RE"]


def prose(lines: list[str]) -> Iterator[str]:
    """Yield the lines of the page for a heading, a table or a paragraph."""
    level, _, heading = lines[0].partition(" ")
    if level == "##":
        yield f".SH {plain(heading).upper()}"
    elif level == "###":
        yield f".SS {plain(heading)}"
    elif level == "|":
        for row in lines[2:]:
            yield from entry(*row.strip("|").split(" | ", 1))
    else:
        yield from [".PP", *(guarded(inline(line)) for line in lines)]


def entry(tag: str, text: str) -> Iterator[str]:
    """Yield the lines of the page for a row of a table: its term and its explanation."""
    yield from [".TP", inline(tag.strip(), is_tag=True), guarded(inline(text.strip()))]


def inline(text: str, *, is_tag: bool = False) -> str:
    """Convert the markup in a line to roff."""
    parts, end = [], 0
    for match in INLINE.finditer(text):
        parts += [plain(text[end : match.start()]), marked(match, is_tag=is_tag)]
        end = match.end()
    return "".join([*parts, plain(text[end:])])


def marked(match: re.Match[str], *, is_tag: bool) -> str:
    """Convert a link, an emphasis or a literal to roff."""
    if match["link"]:
        return plain(match["link"])
    if match["emphasis"]:
        return f"\\fI{plain(match['emphasis'])}\\fR"
    literal = match["ticks"] or match["code"]
    if literal.startswith("man "):
        return f"\\fB{plain(literal[4:])}\\fR(1)"
    bold = plain(literal)
    if is_tag and literal.startswith("-"):
        bold = ARGUMENT.sub(r"\\fI\g<0>\\fB", bold)
    return f"\\fB{bold}\\fR"


def plain(text: str) -> str:
    """Escape text for roff; the result is ASCII."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in text)


def guarded(line: str) -> str:
    """Escape the start of a line of text, so that roff does not read it as a request."""
    return f"\\&{line}" if line.startswith((".", "'")) else line
