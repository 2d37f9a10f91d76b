"""``ch-image build``: from command line to build options."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from functools import cache

from sundog.base.kernel.files import STDERR_FILENO
from sundog.errors import UsageError
from sundog.front.cli.build_context import find_context
from sundog.front.cli.build_facts import chosen_annotations, environment_of
from sundog.front.cli.build_jobs import chosen_jobs
from sundog.front.cli.build_platforms import build_platforms
from sundog.front.cli.kept_bounds import keep_in_bounds
from sundog.front.cli.registries import (
    ALWAYS,
    ATTEMPTS,
    NEVER,
    NEWER,
    looker,
    pull_policy,
    puller,
)
from sundog.front.cli.run_options import chosen_build_args, chosen_cache_mode, chosen_run_options
from sundog.front.cli.shared_names import sharer
from sundog.image.builder.executor import build
from sundog.image.builder.files.named_context import named_context
from sundog.image.builder.files.remote_access import RemoteAccess
from sundog.image.builder.graph import context_key
from sundog.image.builder.naming import inferred_name
from sundog.image.builder.options import NO_NETWORK, SQUASH_ALL, SQUASH_NEW, BuildOptions
from sundog.image.builder.secrets import Secret, SshAgents, SshSource
from sundog.image.dockerfile.parse import parse
from sundog.image.oci.platform import Platform
from sundog.image.oci.timestamps import EPOCH_VARIABLE, parse_epoch
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.front.cli.build_arguments import BuildArguments
    from sundog.front.cli.build_context import GivenContext
    from sundog.front.cli.build_outputs import Output
    from sundog.front.cli.report import Report
    from sundog.image.builder.files.context import BuildContext
    from sundog.image.builder.files.remote_context import RemoteContexts
    from sundog.image.builder.options import RunOptions
    from sundog.image.builder.shared.place import Sharing
    from sundog.image.dockerfile.parse import Dockerfile
    from sundog.image.store.image_files import Image


def run(arguments: BuildArguments, report: Report) -> int:
    """Build an image; return the exit status."""
    with ExitStack() as stack:
        status = _build(arguments, report, stack)
    is_looked_at = arguments.dry_run or arguments.parse_only or arguments.check_only
    if status == 0 and not is_looked_at:
        keep_in_bounds(arguments, report)
    return status


def _build(arguments: BuildArguments, report: Report, stack: ExitStack) -> int:
    @cache
    def opened_store() -> Store:
        """Open the store when it is needed first: what only looks at a Dockerfile makes none."""
        return stack.enter_context(Store.open(arguments.storage_path(), tell=report.info))

    build_args = chosen_build_args(arguments.build_arg, os.environ)
    environment = environment_of(arguments, build_args, os.environ)
    epoch = _epoch(build_args, environment)
    cache_mode = chosen_cache_mode(arguments.cache, os.environ)
    secrets = [Secret.parse(text, os.environ) for text in arguments.secret]
    agents = SshAgents(*(SshSource.parse(text, os.environ) for text in arguments.ssh))
    access = RemoteAccess({secret.id: secret for secret in secrets}, stack.enter_context(agents))
    run_options = chosen_run_options(
        arguments, report, build_args, access, arguments.emulation_default
    )

    @cache
    def remotes() -> RemoteContexts:
        from sundog.image.builder.files.remote_context import RemoteContexts  # seldom needed

        return RemoteContexts.make(opened_store(), access, report, build_args)

    given = find_context(arguments, opened_store, remotes)
    context = given.context
    dockerfile = parse(given.text, path=given.shown)
    status = _looked_at(arguments, dockerfile, context, build_args, report)
    if status is not None:
        return status
    policy = pull_policy(arguments.pull)
    attempts = ATTEMPTS if arguments.retry is None else arguments.retry + 1
    outputs = _outputs(arguments)
    platforms = build_platforms(arguments)
    tags = _tags(arguments, outputs, given, report)
    exports = None
    if outputs:
        from sundog.front.cli.build_exports import Exports

        known_as = tags or (inferred_name(given.path, given.name),)
        exports = Exports(
            outputs, known_as, arguments, report, attempts=attempts, environment=environment
        )
        exports.check(len(platforms))
        run_options = _beside_stream(run_options, outputs, report)
    if arguments.network == NO_NETWORK:
        run_options = replace(run_options, network=NO_NETWORK)
    options = BuildOptions(
        tags,
        context,
        run_options,
        build_args,
        environment,
        arguments.target_stage,
        _labels(arguments.label),
        iidfile=arguments.iidfile,
        metadata_file=arguments.metadata_file,
        annotations=chosen_annotations(arguments.annotation),
        epoch=epoch,
        cache_mode=cache_mode,
        dry_run=arguments.dry_run,
        real_sync=arguments.real_sync,
        pull=puller(arguments, report, policy=policy, attempts=attempts),
        refreshes_bases=policy in (ALWAYS, NEWER),
        share=sharer(arguments, report),
        look_up=None if policy == NEVER else looker(arguments, report),
        uncached=tuple(name for text in arguments.no_cache_filter for name in text.split(",")),
        sharing=_sharing(arguments, report),
        explains=arguments.explain_cache,
        squash=_squash(arguments),
        jobs=chosen_jobs(arguments, os.environ, report),
    )
    store = opened_store()
    named = [named_context(store, text, report, remotes) for text in arguments.build_context]
    options = replace(options, contexts={context_key(name): source for name, source in named})
    report.verbose(f"storage directory: {os.fsdecode(store.path)}")
    report.verbose(f"build cache mode: {cache_mode}")
    images = _built(store, dockerfile, options, platforms, report)
    if exports is not None:
        exports.write(store, images)
    return 0


def _built(
    store: Store,
    dockerfile: Dockerfile,
    options: BuildOptions,
    platforms: Sequence[Platform | None],
    report: Report,
) -> list[Image]:
    """Build for one platform after the other; return the images, none of a dry run."""
    images = []
    for platform in platforms:
        if len(platforms) > 1:
            report.info(f"platform: {platform or Platform.of_host()}")
        images.append(build(store, dockerfile, replace(options, platform=platform), report))
    return [image for image in images if image is not None]


def _squash(arguments: BuildArguments) -> str | None:
    if arguments.squash_all:
        return SQUASH_ALL
    return SQUASH_NEW if arguments.squash else None


def _looked_at(
    arguments: BuildArguments,
    dockerfile: Dockerfile,
    context: BuildContext,
    build_args: Mapping[str, str],
    report: Report,
) -> int | None:
    """Return the exit status if the Dockerfile is only read, or has findings that count."""
    if arguments.parse_only:
        return 0
    if arguments.check_only or "check" in {directive.name for directive in dockerfile.directives}:
        from sundog.front.cli.build_check import fails_on_findings, print_findings

        if arguments.check_only or fails_on_findings(dockerfile):
            status = print_findings(arguments, dockerfile, context, build_args, report)
            if arguments.check_only or status:
                return status
    return None


def _tags(
    arguments: BuildArguments, outputs: Sequence[Output], given: GivenContext, report: Report
) -> tuple[str, ...]:
    """Return the names of the image in storage; none if all of it goes elsewhere."""
    names = (*arguments.tag, *(name for output in outputs for name in output.names))
    tags = tuple(dict.fromkeys(names))
    if not tags and all(output.is_stored for output in outputs):
        tags = (_infer_tag(given.path, given.name, report),)
    return tags


def _sharing(arguments: BuildArguments, report: Report) -> Sharing | None:
    """Return the shared caches that the command line names; raise UsageError."""
    if not (arguments.cache_from or arguments.cache_to):
        return None
    from sundog.front.cli.build_sharing import chosen_sharing  # few builds have any

    return chosen_sharing(arguments, report)


def _beside_stream(run: RunOptions, outputs: Sequence[Output], report: Report) -> RunOptions:
    """Return the options with the output of RUN elsewhere, if standard output is the result."""
    if report.hides_stdout or run.output is not None:
        return run
    is_stream = any(output.is_stream for output in outputs)
    return replace(run, stdout=STDERR_FILENO) if is_stream else run


def _outputs(arguments: BuildArguments) -> Sequence[Output]:
    if not (arguments.output or arguments.push):
        return ()
    from sundog.front.cli.build_outputs import PUSHED, chosen_outputs  # seldom needed

    outputs = chosen_outputs(arguments.output)
    if not arguments.push:
        return outputs
    chosen = arguments.compression
    return (*outputs, PUSHED if chosen is None else replace(PUSHED, compression=chosen))


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


def _labels(texts: Sequence[str]) -> dict[str, str]:
    labels = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name:
            raise UsageError(f"--label: {text}: no name", "write --label NAME=VALUE")
        labels[name] = value
    return labels
