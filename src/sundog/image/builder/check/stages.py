"""Rules about stages: their names, their platforms, and instructions that count once in a stage.

Specification: Docker's build checks; the rules have their names and their meaning.
"""

from __future__ import annotations

import re

from sundog.image.dockerfile.instructions import Cmd, Entrypoint, Healthcheck, Shell, Workdir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.image.builder.check.subject import Finding, Subject, Written
    from sundog.image.dockerfile.instructions import From

_RESERVED = ("scratch", "context")


def duplicate_stage_name(subject: Subject) -> Iterator[Finding]:
    """No two stages have the same name."""
    lines: dict[str, int] = {}
    for written, start in subject.starts():
        if start.alias in lines:
            message = f"line {lines[start.alias]} has a stage {start.alias!r} already"
            word = written.statement.separated()[2]
            yield written.finding("DuplicateStageName", message, word)
        elif start.alias:
            lines[start.alias] = start.line


def reserved_stage_name(subject: Subject) -> Iterator[Finding]:
    """No stage has a name with a meaning of its own."""
    for written, start in subject.starts():
        if start.alias in _RESERVED:
            message = f"{start.alias!r} has a meaning of its own; give the stage another name"
            word = written.statement.separated()[2]
            yield written.finding("ReservedStageName", message, word)


def redundant_target_platform(subject: Subject) -> Iterator[Finding]:
    """FROM does not ask for the platform that it gets without asking."""
    for written, start in subject.starts():
        if start.platform in ("$TARGETPLATFORM", "${TARGETPLATFORM}"):
            message = f"--platform={start.platform} is the default of FROM"
            word = written.statement.flags[0].word
            yield written.finding("RedundantTargetPlatform", message, word)


def from_platform_flag_const_disallowed(subject: Subject) -> Iterator[Finding]:
    """FROM asks for one platform only in a stage whose name says so."""
    for written, start in subject.starts():
        if start.platform and "$" not in start.platform and not _is_named_after(start):
            message = f"--platform={start.platform} lets this build on one platform only"
            word = written.statement.flags[0].word
            yield written.finding("FromPlatformFlagConstDisallowed", message, word)


def _is_named_after(start: From) -> bool:
    parts = [part for part in start.platform.lower().split("/") if part]
    return any(part in start.alias for part in parts)


def multiple_instructions_disallowed(subject: Subject) -> Iterator[Finding]:
    """A stage has at most one CMD, one ENTRYPOINT and one HEALTHCHECK."""
    for stage in subject.stages:
        last: dict[str, Written] = {}
        for written in stage:
            if isinstance(written.instruction, Cmd | Entrypoint | Healthcheck):
                name = written.instruction.name
                if name in last:
                    message = f"line {written.instruction.line} replaces this {name}"
                    yield last[name].finding("MultipleInstructionsDisallowed", message)
                last[name] = written


def json_args_recommended(subject: Subject) -> Iterator[Finding]:
    """CMD and ENTRYPOINT are in exec form, unless SHELL says which shell runs them."""
    have_shell: set[str] = set()
    for (_, start), stage in zip(subject.starts(), subject.stages, strict=True):
        has_shell = start.image_text.lower() in have_shell
        for written in stage:
            instruction = written.instruction
            has_shell = has_shell or isinstance(instruction, Shell)
            if isinstance(instruction, Cmd | Entrypoint) and not (instruction.is_exec or has_shell):
                message = (
                    f'{instruction.name} without ["…"] runs below a shell, which keeps '
                    "signals from it"
                )
                yield written.finding("JSONArgsRecommended", message)
        if has_shell and start.alias:
            have_shell.add(start.alias)


def workdir_relative_path(subject: Subject) -> Iterator[Finding]:
    """WORKDIR is absolute, or follows an absolute one."""
    known: set[str] = set()
    for (_, start), stage in zip(subject.starts(), subject.stages, strict=True):
        is_known = start.image_text.lower() in known
        for written in stage:
            if isinstance(written.instruction, Workdir):
                path = written.instruction.path
                if re.match(r"[\"']?[/$]", path):
                    is_known = True
                elif not is_known:
                    message = f"the place of {path!r} depends on the base image's WORKDIR"
                    yield written.finding(
                        "WorkdirRelativePath", message, written.statement.arguments
                    )
        if is_known and start.alias:
            known.add(start.alias)
