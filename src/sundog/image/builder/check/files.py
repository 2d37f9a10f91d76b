"""Rules about the files of the build context.

Specification: Docker's build checks; the rules have their names and their meaning.
"""

from __future__ import annotations

import posixpath

from sundog.image.dockerfile.instructions import Add, Copy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.image.builder.check.subject import Finding, Subject

_REMOTE = ("http://", "https://", "git://", "ssh://", "git@")


def copy_ignored_file(subject: Subject) -> Iterator[Finding]:
    """COPY and ADD name no file that the ignore file excludes from the context."""
    patterns = subject.facts.ignored
    if not patterns:
        return
    for written in subject.all():
        instruction = written.instruction
        if not isinstance(instruction, Add | Copy):
            continue
        if isinstance(instruction, Copy) and instruction.from_:
            continue
        for source in instruction.sources:
            path = posixpath.normpath(source.strip("\"'").lstrip("/") or ".")
            if source.startswith(_REMOTE) or "$" in source or path == ".":
                continue
            if patterns.match(path) and not patterns.may_except_below(path):
                message = f"{source!r} is excluded from the context by {subject.facts.ignore_file}"
                yield written.finding_near("CopyIgnoredFile", message, source)
