"""``sundog buildx bake``: the targets of bake files and compose files, side by side."""

from __future__ import annotations

import os

from sundog.base.fields import parse_json
from sundog.errors import SundogError, UsageError
from sundog.front.cli.bake_file import from_bake, from_compose
from sundog.front.cli.bake_targets import Definition, line_of
from sundog.front.cli.build_jobs import job_count
from sundog.front.cli.output import print_json
from sundog.front.cli.sundog_context import new_report, run_safely
from sundog.front.cli.sundog_scan import scanned, warn
from sundog.front.podman.image_options import BAKE
from sundog.image.builder.document import read_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.cli.sundog_context import Context

# In buildx's order; all that are there count.
_COMPOSE = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_BAKE = ("docker-bake.json", "docker-bake.override.json")
_HCL = ("docker-bake.hcl", "docker-bake.override.hcl")
_HCL_HINT = "write it as JSON: docker buildx bake --print >docker-bake.json"
_LIMIT = 1 << 20  # bytes


def bake(words: Sequence[str], context: Context) -> int:
    """Build targets, or print them; return the exit status."""
    line = scanned("bake", words, BAKE)
    if line is None:
        return 0
    warn(line)
    definition = _read(line.all("file"))
    seen: set[tuple[str, str]] = set()
    for text in line.all("set"):
        definition.override(text, seen)
    names = definition.wanted(line.operands)
    flags = line.translated()
    lines = [line_of(name, definition, flags, os.environ) for name in names]
    if line.is_set("print"):
        return run_safely(lambda: _print(definition, names))
    jobs = job_count(line.last("jobs"), os.environ)
    if jobs == 1 or len(names) == 1:
        return _one_by_one(names, [[f"--jobs={jobs}", *words] for words in lines], context)
    return _side_by_side(names, lines, definition.waits_for(names), jobs, context)


def _one_by_one(names: Sequence[str], lines: Sequence[Sequence[str]], context: Context) -> int:
    from sundog.front.cli.sundog_command import build_line  # it knows this module, too

    for name, words in zip(names, lines, strict=True):
        new_report().info(f"target: {name}")
        status = build_line(words, context)
        if status:
            return status
    return 0


def _side_by_side(
    names: Sequence[str],
    lines: Sequence[Sequence[str]],
    waits: Sequence[frozenset[int]],
    jobs: int,
    context: Context,
) -> int:
    from sundog.front.cli import image_build, image_command  # noqa: F401 - once for all targets
    from sundog.front.cli.bake_crew import Target, TargetCrew  # for several targets
    from sundog.front.cli.sundog_command import run
    from sundog.front.podman import image_lines  # noqa: F401 - as above

    def build(words: Sequence[str]) -> int:
        return run([*context.image_options, "build", *words])

    targets = [Target(*facts) for facts in zip(names, lines, waits, strict=True)]
    return run_safely(lambda: TargetCrew(targets, jobs, new_report(), build).build())


def _print(definition: Definition, names: Sequence[str]) -> int:
    targets = {name: definition.resolved(name) for name in names}
    print_json({"group": {"default": {"targets": list(names)}}, "target": targets})
    return 0


def _read(paths: Sequence[str]) -> Definition:
    """Read the files, or those of the working directory; raise SundogError."""
    if not paths:
        paths = [name for name in (*_COMPOSE, *_BAKE, *_HCL) if os.path.exists(name)]
        if not paths:
            raise UsageError(
                "bake: no file here", f"-f FILE, or one of: {', '.join((*_COMPOSE, *_BAKE))}"
            )
    definition = Definition()
    for path in paths:
        definition.add(_file(path))
    return definition


def _file(path: str) -> Definition:
    if path.endswith(".hcl"):
        raise UsageError(f"{path}: HCL is not read", _HCL_HINT)
    try:
        data = read_document(path, _LIMIT)
    except OSError as error:
        raise SundogError(f"can't read {path}: {error.strerror}") from error
    if path.endswith(".json"):
        return from_bake(parse_json(data, path, UsageError), path)
    if not path.endswith((".yaml", ".yml")):
        raise UsageError(f"{path}: neither JSON nor a compose file", "FILE.json or FILE.yaml")
    return from_compose(_yaml(data, path), path, os.environ)


def _yaml(data: bytes, path: str) -> object:
    from sundog.runtime.cdi.yaml_faults import NoYamlLibrary, YamlFault  # for compose files only
    from sundog.runtime.cdi.yaml_text import parse_yaml_text

    try:
        return parse_yaml_text(data.decode())
    except (YamlFault, UnicodeDecodeError) as fault:
        raise UsageError(
            f"{path}: not YAML: {fault}", "anchors are read, merges (<<) are not"
        ) from fault
    except NoYamlLibrary as fault:
        raise UsageError(f"{path}: PyYAML is not installed", "pip install pyyaml") from fault
