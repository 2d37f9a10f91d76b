"""Rules about the files of the build context.

Specification: the names and the meaning of Docker's build checks.
"""

from __future__ import annotations

import posixpath

from sundog.dockerfile.instructions import Add, Copy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.builder.check.subject import Finding, Subject

_REMOTE = ("http://", "https://", "git://", "ssh://", "git@")


def copy_ignored_file(subject: Subject) -> Iterator[Finding]:
    """COPY and ADD name nothing that the ignore file keeps out of the context."""
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
                message = f"{source!r} is kept out of the context by {subject.facts.ignore_file}"
                yield written.finding_near("CopyIgnoredFile", message, source)
