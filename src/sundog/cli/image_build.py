"""``ch-image build``: from command line to build options."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import cache

from sundog.builder.document import read_document, read_open_document
from sundog.builder.executor import build
from sundog.builder.files.archive import is_header
from sundog.builder.files.context import BuildContext, named_context, unpacked_context
from sundog.builder.graph import context_key
from sundog.builder.naming import inferred_name
from sundog.builder.options import BuildOptions
from sundog.builder.secrets import Secret, SshSource
from sundog.cli.image_arguments import storage_path
from sundog.cli.registries import pull_options, puller
from sundog.cli.run_options import chosen_build_args, chosen_cache_mode, chosen_run_options
from sundog.dockerfile.parse import SIZE_LIMIT, parse
from sundog.errors import KernelError, SundogError, UsageError
from sundog.layer.compression import is_compressed, rejoined
from sundog.layer.header import BLOCK
from sundog.oci.timestamps import EPOCH_VARIABLE, parse_epoch
from sundog.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import BinaryIO, TypeVar

    from sundog.cli.image_arguments import ImageArguments
    from sundog.cli.report import Report

    SourceT = TypeVar("SourceT", Secret, SshSource)

_STDIN = "-"
_SHOWN_STDIN = "standard input"
_DOCKERFILE = "Dockerfile"
_NAME_IT = "name the Dockerfile with -f"


def run(arguments: ImageArguments, report: Report) -> int:
    """Build an image; return the exit status."""
    if "://" in arguments.context or arguments.context.startswith("git@"):
        raise UsageError(
            f"not supported yet: URL context: {arguments.context}",
            "fetch it first, and give the directory",
        )
    with ExitStack() as stack:
        return _build(arguments, report, stack)


def _build(arguments: ImageArguments, report: Report, stack: ExitStack) -> int:
    @cache
    def opened_store() -> Store:
        """Open the store when it is needed first: what only looks at a Dockerfile makes none."""
        return stack.enter_context(Store.open(storage_path(arguments)))

    archive, text = _standard_input(arguments)
    path = _dockerfile_path(arguments)
    if archive is not None:
        context = unpacked_context(opened_store(), archive, "the context on standard input")
        path = os.path.relpath(arguments.file or _DOCKERFILE)
        text = _read_in(context, path, "" if arguments.file else _NAME_IT)
    else:
        directory = None if arguments.context == _STDIN else arguments.context
        context = BuildContext(directory, "" if path == _STDIN else path)
    run_options = chosen_run_options(arguments, report)
    build_args = chosen_build_args(arguments.build_arg, os.environ)
    epoch = _epoch(build_args, os.environ)
    cache_mode = chosen_cache_mode(arguments.cache, os.environ)
    dockerfile = parse(
        _read(path, arguments) if text is None else text,
        path=_SHOWN_STDIN if path == _STDIN else path,
    )
    if arguments.parse_only:
        return 0
    if arguments.check or "check" in {directive.name for directive in dockerfile.directives}:
        from sundog.cli.build_check import fails_on_findings, print_findings  # noqa: PLC0415

        if arguments.check or fails_on_findings(dockerfile):
            status = print_findings(arguments, dockerfile, context, build_args, report)
            if arguments.check or status:
                return status
    tags = tuple(dict.fromkeys(arguments.tag)) or (_infer_tag(path, arguments.context, report),)
    options = BuildOptions(
        tags,
        context,
        run_options,
        build_args,
        os.environ,
        arguments.target_stage,
        _labels(arguments.label),
        _by_id(Secret.parse(text, os.environ) for text in arguments.secret),
        _by_id(SshSource.parse(text, os.environ) for text in arguments.ssh),
        iidfile=arguments.iidfile,
        metadata_file=arguments.metadata_file,
        epoch=epoch,
        cache_mode=cache_mode,
        dry_run=arguments.dry_run,
        real_sync=arguments.real_sync,
        platform=pull_options(arguments).platform,
        pull=puller(arguments, report),
    )
    store = opened_store()
    contexts = dict(named_context(store, text, report) for text in arguments.build_context)
    options = replace(
        options, contexts={context_key(name): source for name, source in contexts.items()}
    )
    report.verbose(f"storage directory: {os.fsdecode(store.path)}")
    report.verbose(f"build cache mode: {cache_mode}")
    build(store, dockerfile, options, report)
    return 0


def _standard_input(arguments: ImageArguments) -> tuple[BinaryIO | None, bytes | None]:
    """Return the context from standard input if that is an archive, else the Dockerfile.

    With ``-f -``, standard input is always the Dockerfile.  With another ``-f`` and the context
    ``-``, it is always an archive.
    """
    if arguments.context != _STDIN or arguments.file == _STDIN:
        return None, None
    kind = os.fstat(sys.stdin.fileno()).st_mode
    if arguments.file is not None and not (stat.S_ISFIFO(kind) or stat.S_ISREG(kind)):
        return None, None
    head = sys.stdin.buffer.read(BLOCK)
    if is_compressed(head) or is_header(head):
        return rejoined(head, sys.stdin.buffer), None
    return None, None if arguments.file is not None else head + sys.stdin.buffer.read(SIZE_LIMIT)


def _read_in(context: BuildContext, path: str, hint: str) -> bytes:
    """Read the Dockerfile of an archive; the error for a missing one has ``hint``."""
    try:
        fd = context.tree().open(os.fsencode(path))
        return read_open_document(fd, f"{path} in the archive", SIZE_LIMIT)
    except (KernelError, OSError) as error:
        raise SundogError(
            f"can't read {path} in the archive: {os.strerror(error.errno or 0)}", hint
        ) from error


def _dockerfile_path(arguments: ImageArguments) -> str:
    if arguments.file is not None:
        return arguments.file
    if arguments.context == _STDIN:
        return _STDIN
    return os.path.join(arguments.context, _DOCKERFILE)


def _read(path: str, arguments: ImageArguments) -> bytes:
    if path == _STDIN:
        return sys.stdin.buffer.read(SIZE_LIMIT + 1)
    try:
        return read_document(path, SIZE_LIMIT)
    except OSError as error:
        hint = ""
        if isinstance(error, FileNotFoundError):
            hint = _whereabouts(path, arguments)
        elif isinstance(error, IsADirectoryError):
            hint = _NAME_IT
        raise SundogError(f"can't read {path}: {error.strerror}", hint) from error


def _whereabouts(path: str, arguments: ImageArguments) -> str:
    """Return the hint for a missing Dockerfile."""
    if arguments.file is None:
        return _NAME_IT
    in_context = os.path.join(arguments.context, path)
    if os.path.exists(in_context):
        return f"-f is relative to the working directory: -f {in_context}"
    return ""


def _infer_tag(dockerfile: str, context: str, report: Report) -> str:
    tag = inferred_name(dockerfile, context)
    if not tag:
        raise UsageError("no name for the image", "give one with -t")
    report.info(f"inferred image name: {tag}")
    return tag


def _epoch(build_args: dict[str, str], environment: Mapping[str, str]) -> int | None:
    """Return the time of creation that the image is to have.

    $SOURCE_DATE_EPOCH of the environment becomes a build argument, as in docker(1).
    """
    where = f"--build-arg: {EPOCH_VARIABLE}"
    if EPOCH_VARIABLE not in build_args and environment.get(EPOCH_VARIABLE):
        build_args[EPOCH_VARIABLE] = environment[EPOCH_VARIABLE]
        where = f"${EPOCH_VARIABLE}"
    return parse_epoch(build_args.get(EPOCH_VARIABLE, ""), where)


def _by_id(sources: Iterable[SourceT]) -> dict[str, SourceT]:
    return {source.id: source for source in sources}


def _labels(texts: Sequence[str]) -> dict[str, str]:
    labels = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name:
            raise UsageError(f"--label: {text}: no name", "write --label NAME=VALUE")
        labels[name] = value
    return labels
