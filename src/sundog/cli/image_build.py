"""``ch-image build``: from command line to build options."""

from __future__ import annotations

import os
import sys

from sundog.build.context import BuildContext
from sundog.build.executor import build
from sundog.build.force import Force
from sundog.build.inject import Hook
from sundog.build.naming import inferred_name
from sundog.build.options import CACHE_ENABLED, CACHE_MODES, BuildOptions, RunOptions
from sundog.cli.image_arguments import storage_path
from sundog.dockerfile.parse import parse
from sundog.errors import SundogError, UsageError
from sundog.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.cli.image_arguments import ImageArguments
    from sundog.cli.report import Report

_STDIN = "-"
_STDOUT, _STDERR = 1, 2


def run(arguments: ImageArguments, report: Report) -> int:
    """Build an image; return the exit status."""
    if "://" in arguments.context or arguments.context.startswith("git@"):
        raise UsageError(
            f"not supported yet: URL context: {arguments.context}",
            "fetch it first, and give the directory",
        )
    path = _dockerfile_path(arguments)
    context = BuildContext(None if arguments.context == _STDIN else arguments.context)
    run_options = RunOptions(
        _force(arguments, report),
        tuple(_bind(text) for text in arguments.bind),
        stdout=_devnull() if report.hides_stdout else _STDOUT,
        stderr=_devnull() if report.hides_stderr else _STDERR,
    )
    build_args = _build_args(arguments.build_arg, os.environ)
    cache_mode = _cache_mode(arguments.cache, os.environ)
    dockerfile = parse(_read(path), path=path)
    if arguments.parse_only:
        return 0
    tags = tuple(dict.fromkeys(arguments.tag)) or (_infer_tag(path, arguments.context, report),)
    options = BuildOptions(
        tags,
        context,
        run_options,
        build_args,
        os.environ,
        arguments.target_stage,
        _labels(arguments.label),
        cache_mode,
        dry_run=arguments.dry_run,
        real_sync=arguments.real_sync,
    )
    with Store.open(storage_path(arguments)) as store:
        report.verbose(f"storage directory: {os.fsdecode(store.path)}")
        report.verbose(f"build cache mode: {cache_mode}")
        build(store, dockerfile, options, report)
    return 0


def _force(arguments: ImageArguments, report: Report) -> Force:
    """Return the emulation that was asked for, or, with a warning, what is possible instead."""
    force = Force.choose(arguments.force, [Hook.parse(text) for text in arguments.force_cmd])
    if force.notify:
        from sundog.launcher.supervised import refusal  # noqa: PLC0415 - seldom needed

        reason = refusal()
        if reason and arguments.no_fallback:
            raise SundogError(
                f"--force=notify is not possible here: {reason}", "use --force=seccomp"
            )
        if reason:
            report.warning(f"--force=notify is not possible here, using seccomp: {reason}")
            return Force.choose("seccomp")
    return force


def _dockerfile_path(arguments: ImageArguments) -> str:
    if arguments.file is not None:
        return arguments.file
    if arguments.context == _STDIN:
        return _STDIN
    return os.path.join(arguments.context, "Dockerfile")


def _read(path: str) -> bytes:
    if path == _STDIN:
        return sys.stdin.buffer.read()
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        hint = "name the Dockerfile with -f" if isinstance(error, FileNotFoundError) else ""
        raise SundogError(f"can't read {path}: {error.strerror}", hint) from error


def _infer_tag(dockerfile: str, context: str, report: Report) -> str:
    tag = inferred_name(dockerfile, context)
    if not tag:
        raise UsageError("no name for the image", "give one with -t")
    report.info(f"inferred image name: {tag}")
    return tag


def _bind(text: str) -> tuple[bytes, bytes]:
    source, colon, destination = text.partition(":")
    if not source or (colon and not destination.startswith("/")):
        raise UsageError(
            f"--bind: {text}: a path is missing or relative", "write --bind SRC[:/DST]"
        )
    path = os.path.abspath(source)
    return os.fsencode(path), os.fsencode(destination or path)


def _build_args(texts: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    build_args = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f"--build-arg: {text}: no name", "write --build-arg NAME=VALUE")
        if not equals:
            if name not in environment:
                raise UsageError(
                    f"--build-arg: {name}: no value and not in environment",
                    f"write --build-arg {name}=VALUE",
                )
            value = environment[name]
        build_args[name] = value
    return build_args


def _labels(texts: Sequence[str]) -> dict[str, str]:
    labels = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name:
            raise UsageError(f"--label: {text}: no name", "write --label NAME=VALUE")
        labels[name] = value
    return labels


def _cache_mode(option: str | None, environment: Mapping[str, str]) -> str:
    if option is not None:
        return option
    mode = environment.get("CH_IMAGE_CACHE", "") or CACHE_ENABLED
    if mode not in CACHE_MODES:
        raise UsageError(
            f"$CH_IMAGE_CACHE: invalid build cache mode: {mode}",
            f"one of: {', '.join(CACHE_MODES)}",
        )
    return mode


def _devnull() -> int:
    return os.open(os.devnull, os.O_WRONLY)
