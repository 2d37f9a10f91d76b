"""Make the manual pages of a command: from its document, and from the table of its options.

A document such as docs/reference/ch-run.md has the sections. Options that it does not describe come
from the table that ``--help`` is made from. So a command without a document has a page, too. Each
subcommand gets a page of its own: ``man ch-image build`` shows ch-image-build(1).

This module knows only the Markdown of those documents: headings, paragraphs, fenced code, tables of
two columns, `code`, *emphasis* and links.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from command_lines import Argument, CommandLine, Option

INLINE = re.compile(
    r"`` (?P<ticks>.+?) ``|`(?P<code>[^`]+)`|\*(?P<emphasis>[^*]+)\*|\[(?P<link>[^]]+)\]\([^)]*\)"
)
COMMENT = re.compile(r"^<!-- .* -->\n", re.MULTILINE)
# The argument in the entry of an option: --tag NAME, --force[=MODE].
ARGUMENT = re.compile(r"(?<=[ =\[,:])[A-Z]+(?:_[A-Z]+)*")


def pages(line: CommandLine, document: str) -> dict[str, str]:
    """Return the pages of a command and its subcommands by their paths below share/."""
    document = COMMENT.sub("", document)
    made = {line.name: page(line, document)}
    for subcommand in line.subcommands:
        name = f"{line.name}-{subcommand.name}".replace(" ", "-")
        made[name] = subcommand_page(name, subcommand, document)
    return {f"man/man1/{name}.1": text for name, text in made.items()}


def page(line: CommandLine, document: str) -> str:
    """Return the page of a command."""
    summary, synopsis, rest = line.summary, "", ""
    if document:
        title, synopsis, rest = document.split("```\n", 2)
        summary = title.partition("\n\n")[2]
    lines = [
        *heading(line.name, summary),
        ".SH SYNOPSIS",
        *(code(synopsis) if synopsis else [usage(line.name, line)]),
        *([".SH DESCRIPTION", *body(rest)] if rest else []),
        *option_entries("OPTIONS", missing(line.options, document)),
    ]
    if not document and line.subcommands:
        lines.append(".SH SUBCOMMANDS")
        for each in line.subcommands:
            lines += [".TP", f"\\fB{plain(each.name)}\\fR", guarded(plain(each.summary))]
    return "\n".join(lines) + "\n"


def subcommand_page(name: str, line: CommandLine, document: str) -> str:
    """Return the page of a subcommand: its section of the document, and the rest of its options."""
    text = section(line.name, document).strip()
    command = name.removesuffix(f"-{line.name.replace(' ', '-')}")
    words = command.replace("sundog-", "sundog ")  # it is a subcommand itself
    synopsis = [usage(f"{words} {line.name}", line)]
    if text.startswith("```\n"):
        _, fenced, text = text.split("```\n", 2)
        synopsis = [*code(fenced)]
    lines = [
        *heading(name, line.summary),
        ".SH SYNOPSIS",
        *synopsis,
        *([".SH DESCRIPTION", *body(text)] if text else []),
        *option_entries("OPTIONS", missing(line.options, text)),
        ".SH SEE ALSO",
        f"\\fB{plain(command)}\\fR(1) describes the common options, the exit status and the files.",
    ]
    return "\n".join(lines) + "\n"


def heading(name: str, summary: str) -> list[str]:
    """Return the first lines of a page."""
    summary = summary.strip().rstrip(".")
    return [
        f'.TH {plain(name).upper()} 1 "" Sundog "Sundog manual"',
        ".SH NAME",
        f"{plain(name)} \\- {plain(summary[:1].lower() + summary[1:])}",
    ]


def section(name: str, document: str) -> str:
    """Return the text of the sections whose heading names a subcommand, without the headings."""
    parts = re.split(r"^#+ (.*)$", document, flags=re.MULTILINE)
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return "".join(text for title, text in pairs if name in re.split("[ ,]+", title))


def usage(words: str, line: CommandLine) -> str:
    """Return a synopsis, as the table of the command line has it."""
    names = [f"\\fI{plain(each.name)}\\fR" for each in line.operands]
    operands = [
        f"[{name}...]" if each.repeats else name
        for each, name in zip(line.operands, names, strict=True)
    ]
    if line.subcommands:
        operands = ["\\fISUBCOMMAND\\fR", "..."]
    return " ".join([f"\\fB{plain(words)}\\fR", "[\\fIOPTION\\fR...]", *operands])


def missing(options: Sequence[Option], document: str) -> list[Option]:
    """Return the options that a document does not describe."""
    described = set(re.findall(r"(?<![\w-])-{1,2}[\w?][\w-]*", document))
    return [option for option in options if not described.intersection(option.names)]


def option_entries(title: str, options: Sequence[Option]) -> Iterator[str]:
    """Yield the section with the options of a table; none if there are no options."""
    if options:
        yield f".SH {title}"
    for option in options:
        yield ".TP"
        yield f"\\fB{plain(', '.join(option.names))}\\fR{argument(option.argument)}"
        yield guarded(plain(option.help))


def argument(value: Argument | None) -> str:
    """Return the argument of an option, as it stands behind the names."""
    if value is None:
        return ""
    name = "|".join(value.values) if value.name == "VALUE" else value.name
    return f"[=\\fI{plain(name)}\\fR]" if value.attached else f" \\fI{plain(name)}\\fR"


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
