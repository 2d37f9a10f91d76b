"""The manual page ch-image.1, made of docs/ch-image.md when the wheel is built.

Of Markdown it knows what that document uses: headings, paragraphs, fenced code, tables of two
columns, `code`, *emphasis* and links. Imports nothing of ``sundog``: it runs while that is built.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

INLINE = re.compile(
    r"`` (?P<ticks>.+?) ``|`(?P<code>[^`]+)`|\*(?P<emphasis>[^*]+)\*|\[(?P<link>[^]]+)\]\([^)]*\)"
)
# What an option takes, as its entry shows it: --tag NAME, --force[=MODE].
ARGUMENT = re.compile(r"(?<=[ =\[,:])[A-Z]+(?:_[A-Z]+)*")


def page(document: str) -> str:
    """Return the manual page that says what ``document`` says."""
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
    """Yield the lines of the page for all of ``text``."""
    # Fenced code is what is between the odd and the even fences.
    for number, part in enumerate(re.split(r"^```\n", text, flags=re.MULTILINE)):
        if number % 2:
            yield from code(part)
            continue
        for block in filter(None, re.split(r"\n\n+", part.strip())):
            yield from prose(block.splitlines())


def code(text: str) -> Iterator[str]:
    """Yield the lines of the page for what is shown as it is."""
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
    """Yield the lines for a row of a table: what it is about, and what is said of it."""
    yield from [".TP", inline(tag.strip(), is_tag=True), guarded(inline(text.strip()))]


def inline(text: str, *, is_tag: bool = False) -> str:
    """Return a line with its markup in the page's terms."""
    parts, end = [], 0
    for match in INLINE.finditer(text):
        parts += [plain(text[end : match.start()]), marked(match, is_tag=is_tag)]
        end = match.end()
    return "".join([*parts, plain(text[end:])])


def marked(match: re.Match[str], *, is_tag: bool) -> str:
    """Return a piece that is set apart from the text around."""
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
    """Return text that roff shows as it is, in ASCII."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in text)


def guarded(line: str) -> str:
    """Return a line of text that roff cannot take for a request."""
    return f"\\&{line}" if line.startswith((".", "'")) else line
