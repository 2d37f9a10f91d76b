"""Rules about variables: they are defined, and they hold no secrets.

Specification: Docker's build checks; the rules have their names and their meaning.  The Dockerfile
reference for the scope of ARG and ENV.
"""

from __future__ import annotations

import re

from sundog.base.record.names import canonical_name
from sundog.errors import ReferenceSyntaxError
from sundog.image.builder.scope import PROXY_ARGS, platform_args
from sundog.image.dockerfile.flags import did_you_mean
from sundog.image.dockerfile.instructions import Arg, Env
from sundog.image.oci.platform import Platform
from sundog.runtime.container.search_path import ENGINE_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sundog.image.builder.check.subject import Finding, Subject, Written
    from sundog.image.dockerfile.instructions import Variables

_PLAIN = re.compile(r"\$(?:\{(\w+)\}|(\w+))")  # no modifier gives a default

_SECRETS = "apikey|auth|credentials?|key|password|passwd|pword|secret|token"
_SECRET = re.compile(rf"(?:^|_)(?:{_SECRETS})(?:_|$)", re.IGNORECASE)
_NOT_SECRET = re.compile(r"(?:^|_)public(?:_|$)", re.IGNORECASE)


class _Watch(dict[str, str]):
    """Variables; remembers the names that were asked for and are missing."""

    def __init__(self, variables: dict[str, str]) -> None:
        super().__init__(variables)
        self.missing: dict[str, None] = {}

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        if name not in self:
            self.missing[name] = None
        return super().get(name, default)


def _missing(subject: Subject, written: Written, variables: dict[str, str]) -> list[str]:
    """Return the variables that the instruction uses, and that have no value and no default."""
    watch = _Watch(variables)
    subject.dockerfile.expand(written.instruction, watch)
    if not watch.missing:
        return []
    heredocs = "".join(heredoc.content for heredoc in written.statement.heredocs)
    found = _PLAIN.findall(written.logical.text + heredocs)
    plain = {braced or bare for braced, bare in found}
    return [name for name in watch.missing if name in plain]


def _undefined(rule: str, written: Written, name: str, known: Iterable[str]) -> Finding:
    suggestion = did_you_mean(name, sorted(known), prefix="$")
    message = f"${name} is not defined{f': {suggestion}' if suggestion else ''}"
    return written.finding_near(rule, message, f"${{{name}}}", f"${name}")


def _global_values(subject: Subject, *, with_build_args: bool) -> dict[str, str]:
    """Return the variables that FROM sees; "" for an ARG without a value."""
    values = platform_args(Platform.of_host())
    given = subject.facts.build_args if with_build_args else {}
    for written in subject.arguments:
        expanded = subject.dockerfile.expand(written.instruction, values)
        assert isinstance(expanded, Arg)
        for name, default in expanded.variables:
            values[name] = given.get(name, default or "")
    return values


def undefined_arg_in_from(subject: Subject) -> Iterator[Finding]:
    """FROM uses only variables that an ARG before the first FROM declares."""
    values = _global_values(subject, with_build_args=True)
    for written, _ in subject.starts():
        for name in _missing(subject, written, values):
            yield _undefined("UndefinedArgInFrom", written, name, values)


def invalid_default_arg_in_from(subject: Subject) -> Iterator[Finding]:
    """FROM names an image even if no --build-arg is given."""
    values = _global_values(subject, with_build_args=False)
    for written, start in subject.starts():
        if "$" not in start.image_text or _missing(subject, written, values):
            continue
        image = subject.dockerfile.expand(start, values).image_text
        try:
            canonical_name(image)
        except ReferenceSyntaxError:
            message = f"without --build-arg, {start.image_text} is {image!r}, which names no image"
            yield written.finding_near("InvalidDefaultArgInFrom", message, start.image_text)


def undefined_var(subject: Subject) -> Iterator[Finding]:
    """An instruction uses only variables that ARG or ENV of its stage, or the base image, defines.

    The rule skips a stage whose base image is not known.
    """
    global_values = _global_values(subject, with_build_args=True)
    environments: dict[str, dict[str, str] | None] = {"scratch": {}}
    for (_, start), stage in zip(subject.starts(), subject.stages, strict=True):
        expanded_start = subject.dockerfile.expand(start, global_values)
        base = expanded_start.image_text
        if base.lower() in environments:
            known = environments[base.lower()]
        else:
            of_image = subject.facts.base_environment(base)
            known = None if of_image is None else dict(of_image)
        if known is None:
            if start.alias:
                environments[start.alias] = None
            continue
        defined = {"PATH": ENGINE_PATH, **dict.fromkeys(PROXY_ARGS, ""), **known}

        def declare(variables: Variables, defined: dict[str, str]) -> None:
            for name, default in variables:
                value = subject.facts.build_args.get(name, default)
                defined.setdefault(name, value or global_values.get(name, ""))

        declare(expanded_start.variables, defined)
        for written in stage[1:]:
            for name in _missing(subject, written, defined):
                yield _undefined("UndefinedVar", written, name, defined.keys() - PROXY_ARGS)
            expanded = subject.dockerfile.expand(written.instruction, defined)
            if isinstance(expanded, Env):
                defined.update(expanded.pairs)
            elif isinstance(expanded, Arg):
                declare(expanded.variables, defined)
        if start.alias:
            environments[start.alias] = defined


def secrets_used_in_arg_or_env(subject: Subject) -> Iterator[Finding]:
    """ARG and ENV pass no secret in: everybody who has the image can read them."""
    for written in subject.all():
        instruction = written.instruction
        if isinstance(instruction, Arg):
            names = [name for name, _ in instruction.variables]
        elif isinstance(instruction, Env):
            names = [name for name, _ in instruction.pairs]
        else:
            continue
        for name in names:
            if _SECRET.search(name) and not _NOT_SECRET.search(name):
                message = f"{instruction.name} {name} is in the image: use RUN --mount=type=secret"
                yield written.finding_near("SecretsUsedInArgOrEnv", message, name)
