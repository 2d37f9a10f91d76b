"""Rules about the way in which an instruction is written.

Specification: Docker's build checks; the rules have their names and their meaning.
"""

from __future__ import annotations

from sundog.image.builder.check.subject import Finding
from sundog.image.dockerfile.instructions import Arg, Env, Expose, From, Label, Maintainer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.image.builder.check.subject import Subject, Written
    from sundog.image.dockerfile.statement import Word


def from_as_casing(subject: Subject) -> Iterator[Finding]:
    """AS is in capitals if FROM is."""
    for written, _ in subject.starts():
        keyword, words = written.statement.keyword.text, written.statement.separated()
        if len(words) == 3 and (keyword.isupper(), keyword.islower()) != (
            words[1].text.isupper(),
            words[1].text.islower(),
        ):
            message = f"{words[1].text!r} is not in the case of {keyword!r}"
            yield written.finding("FromAsCasing", message, words[1])


def stage_name_casing(subject: Subject) -> Iterator[Finding]:
    """Names of stages are in lower case."""
    for written, _ in subject.starts():
        words = written.statement.separated()
        if len(words) == 3 and words[2].text != words[2].text.lower():
            message = f"stage name {words[2].text!r} has capital letters, which have no effect"
            yield written.finding("StageNameCasing", message, words[2])


def consistent_instruction_casing(subject: Subject) -> Iterator[Finding]:
    """All keywords are in capitals, or all are in lower case."""
    keywords = [written.statement.keyword.text for written in subject.all()]
    is_lower = sum(map(str.islower, keywords)) > sum(map(str.isupper, keywords))
    case, name = (str.lower, "lower") if is_lower else (str.upper, "upper")
    for written in subject.all():
        keyword = written.statement.keyword.text
        if keyword != case(keyword):
            message = f"{keyword!r} is not in {name} case, unlike most keywords of this file"
            yield written.finding("ConsistentInstructionCasing", message)


def no_empty_continuation(subject: Subject) -> Iterator[Finding]:
    """No empty line is among the lines of an instruction."""
    for written in subject.all():
        logical = written.logical
        last = logical.end_line
        if written.statement.heredocs:
            last, _ = logical.locate(len(logical.text))
        for line in range(logical.line + 1, last):
            if not subject.source.lines[line - 1].strip():
                message = f"an empty line within {written.instruction.name}"
                error = subject.source.error(f"NoEmptyContinuation: {message}", line)
                yield Finding("NoEmptyContinuation", line, tuple(error.lines()))
                break


def legacy_key_value_format(subject: Subject) -> Iterator[Finding]:
    """ENV and LABEL have the form NAME=VALUE."""
    for written in subject.all():
        words = written.statement.quoted()
        if isinstance(written.instruction, Env | Label) and "=" not in words[0].text:
            name = written.instruction.name
            message = f"write {name} {words[0].text}=VALUE"
            yield written.finding("LegacyKeyValueFormat", message, words[0])


def maintainer_deprecated(subject: Subject) -> Iterator[Finding]:
    """MAINTAINER is deprecated."""
    for written in subject.all():
        if isinstance(written.instruction, Maintainer):
            message = "MAINTAINER is deprecated: write LABEL org.opencontainers.image.authors=…"
            yield written.finding("MaintainerDeprecated", message)


def expose_proto_casing(subject: Subject) -> Iterator[Finding]:
    """EXPOSE's protocol is in lower case."""
    for written, word in _ports(subject):
        protocol = word.text.partition("/")[2]
        if protocol != protocol.lower() and "$" not in protocol:
            message = f"protocol {protocol!r} is not in lower case"
            yield written.finding("ExposeProtoCasing", message, word)


def expose_invalid_format(subject: Subject) -> Iterator[Finding]:
    """EXPOSE has only ports: no addresses, and no ports of the host."""
    for written, word in _ports(subject):
        port = word.text.partition("/")[0]
        if ":" in port and "$" not in port:
            message = f"{port!r} has an address or a host's port: EXPOSE takes only a port"
            yield written.finding("ExposeInvalidFormat", message, word)


def _ports(subject: Subject) -> Iterator[tuple[Written, Word]]:
    for written in subject.all():
        if isinstance(written.instruction, Expose):
            for word in written.statement.separated():
                yield written, word


def invalid_definition_description(subject: Subject) -> Iterator[Finding]:
    """A comment right before a named FROM or an ARG describes it, and begins with its name."""
    directives = {directive.line for directive in subject.dockerfile.directives}
    for written in subject.all():
        instruction = written.instruction
        if isinstance(instruction, From):
            names = [word.text for word in written.statement.separated()[2:]]
        elif isinstance(instruction, Arg):
            names = [name for name, _ in instruction.variables]
        else:
            continue
        line = written.logical.line - 1
        if line < 1 or line in directives:
            continue
        comment = subject.source.lines[line - 1].strip()
        first, *_ = comment.removeprefix("#").split() or [""]
        if comment.startswith("#") and first and names and first not in names:
            message = f"write '# {names[0]} DESCRIPTION', or an empty line after the comment"
            error = subject.source.error(f"InvalidDefinitionDescription: {message}", line)
            yield Finding("InvalidDefinitionDescription", line, tuple(error.lines()))
