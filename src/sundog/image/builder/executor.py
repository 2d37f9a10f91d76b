"""Carry out a Dockerfile: build its stages one after the other, then put the image in place.

Specification: the Dockerfile reference for the effects; Charliecloud for the output.  The image
appears under its name in one step, when its last instruction is done.  Until then, only the build
cache has its parts.
"""

from __future__ import annotations

from dataclasses import replace

from sundog.base.record.names import canonical_name
from sundog.errors import BuildError, NotInStorage, StoreError, SundogError
from sundog.image.builder.explanation import pack_stages
from sundog.image.builder.failure import forget_failure, name_remains
from sundog.image.builder.force import Force
from sundog.image.builder.graph import stage_graph
from sundog.image.builder.metadata import pair_text, without_times
from sundog.image.builder.options import CACHE_DISABLED, SQUASH_NEW
from sundog.image.builder.places import Places
from sundog.image.builder.report import NOT_APPLICABLE
from sundog.image.builder.retry import BuildAgain
from sundog.image.builder.scope import GlobalScope, platform_args
from sundog.image.builder.shell_form import warn_of_shell_form
from sundog.image.builder.stage import stage_result
from sundog.image.builder.state import BuildState
from sundog.image.builder.unseen_owners import note_unseen_owners
from sundog.image.builder.user import stays_root
from sundog.image.oci.platform import Platform
from sundog.image.oci.timestamps import timestamp
from sundog.image.store.image_files import Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.image.builder.graph import Stage
    from sundog.image.builder.options import BuildOptions
    from sundog.image.builder.report import Report
    from sundog.image.builder.shared.cache import SharedBuild, SharedCaches
    from sundog.image.builder.state import StageResult
    from sundog.image.dockerfile.parse import Dockerfile
    from sundog.image.oci.config import ImageConfig
    from sundog.image.store.store import Store

_ORIGIN = "ch-image build"
_ORIGIN_OF_MODIFIED = "ch-image modify"
_STANDARD_SYNTAXES = ("docker/dockerfile", "docker/dockerfile-upstream")


def build(
    store: Store, dockerfile: Dockerfile, options: BuildOptions, report: Report
) -> Image | None:
    """Build an image, put it in place under the names in ``options.tags``, and return it.

    Without names, only the build cache keeps its layers.  A dry run returns None.
    Raises DockerfileError, BuildError and the errors of the store; then the images that had these
    names are unchanged.
    """
    for tag in options.tags:
        canonical_name(tag)
    _note_syntax(dockerfile, report)
    shared = _shared_caches(store, options, report)
    try:
        _, image = _build(store, dockerfile, options, report, shared)
    except BuildAgain as again:
        report.withdraw(stays_root(options.run.force))
        run = replace(options.run, force=Force.choose("notify"), retry=False)
        state, image = _build(store, dockerfile, replace(options, run=run), report, shared)
        again.remember(state)
    if shared is not None and (failures := shared.failures()):
        raise BuildError(failures[0], "the image is in storage; ignore-error=true only warns")
    return image


def build_unnamed(
    store: Store, dockerfile: Dockerfile, options: BuildOptions, report: Report
) -> StageResult:
    """Build an image and give it no name; raise as ``build``, and never try again."""
    options = replace(options, tags=(), run=replace(options.run, retry=False))
    shared = _shared_caches(store, options, report)
    return _staged(store, dockerfile, options, report, shared)[1]


def _shared_caches(store: Store, options: BuildOptions, report: Report) -> SharedCaches | None:
    if options.sharing is None and not store.has_imported:
        return None
    from sundog.image.builder.shared.cache import SharedCaches  # few builds have any

    return SharedCaches.of(store, options.sharing, report)


def _build(
    store: Store,
    dockerfile: Dockerfile,
    options: BuildOptions,
    report: Report,
    shared: SharedCaches | None,
) -> tuple[BuildState, Image | None]:
    """Do what ``build`` does once; raise BuildAgain, too."""
    state, result = _staged(store, dockerfile, options, report, shared)
    image = None
    if options.dry_run:
        report.info("dry run: nothing was built")
    else:
        force = options.run.force
        if state.modified:
            report.info(f"--force={force.mode}: modified {state.modified} RUN instructions")
        elif state.ran and force.fakeroot:
            report.info(f"--force={force.mode}: no RUN that ran needed fakeroot")
        records = _records(state)
        image = _put(store, options, result, report)
        for name, record in records.items():
            store.last_builds.put(name, record)
        names = f": {' '.join(options.tags)}" if options.tags else ""
        report.info(f"grown in {state.instructions} instructions{names}")
    report.end()
    if unused := state.scope.unused():
        report.warning(f"--build-arg: not consumed: {' '.join(unused)}: no ARG declares it")
    return state, image


def _staged(
    store: Store,
    dockerfile: Dockerfile,
    options: BuildOptions,
    report: Report,
    shared: SharedCaches | None,
) -> tuple[BuildState, StageResult]:
    """Build the stages; raise BuildAgain, too."""
    if shared is None:
        return _staged_once(store, dockerfile, options, report)
    from sundog.image.builder.shared.cache import PromiseBroken, SharedBuild

    while True:
        try:
            return _staged_once(
                store, dockerfile, options, report, SharedBuild(store, shared, report)
            )
        except PromiseBroken:  # the entry, or its place, is not asked again
            report.info("building from the start without what is missing")


def _staged_once(
    store: Store,
    dockerfile: Dockerfile,
    options: BuildOptions,
    report: Report,
    shared: SharedBuild | None = None,
) -> tuple[BuildState, StageResult]:
    """Do what ``_staged`` does once; raise PromiseBroken, too."""
    automatic = platform_args(Platform.of_host(), options.platform)
    automatic |= {"TARGETSTAGE": options.target or "default"}
    scope = GlobalScope(options.build_args, automatic, options.environment)
    graph = stage_graph(dockerfile, scope, options.contexts)
    target = graph.target(options.target)
    stages = graph.needed(target)
    for stage in stages:
        warn_of_shell_form(dockerfile, stage.instructions, report)
    instructions = [instruction for stage in stages for instruction in stage.instructions]
    note_unseen_owners(instructions, options.run.force, report)

    uncached = frozenset(graph.target(name, "--no-cache-filter").index for name in options.uncached)
    places = Places(stages)
    state = BuildState(store, dockerfile, options, report, scope, graph, places, shared, uncached)
    for instruction, name, value in graph.arguments:
        state.announce(instruction, NOT_APPLICABLE, pair_text("ARG", name, value))
    report.end()
    try:
        _build_stages(state, stages)
        result = stage_result(state, target.index)
    except SundogError as error:
        name_remains(state, error)
        raise
    if result.layers is not None and not options.dry_run:
        result = replace(result, layers=state.here(result.layers))
    return state, result


def _build_stages(state: BuildState, stages: Sequence[Stage]) -> None:
    jobs = state.options.jobs
    if jobs is None or state.options.dry_run or len(stages) == 1:
        for stage in stages:
            stage_result(state, stage.index)
        return
    from sundog.image.builder.jobs.crew import StageCrew  # most Dockerfiles have one stage

    StageCrew(state, stages, jobs).build()


def _put(store: Store, options: BuildOptions, result: StageResult, report: Report) -> Image:
    """Write the image under each name, unless that name has the same image already.  Return it.

    An image that differs only in times counts as the same, unless the user asked for a time.
    """
    assert result.layers is not None
    config = result.config.replace(labels={**result.config.labels, **options.labels})
    config = config.replace(created=timestamp(options.epoch))
    origin = _ORIGIN_OF_MODIFIED if options.is_modification else _ORIGIN
    made = Image("", "", config, result.layers, origin, annotations=options.annotations)
    if options.squash is not None:
        base = result.base if options.squash == SQUASH_NEW else 0
        made = store.images.squashed(made, base)
        if len(made.layers) < len(result.layers):
            report.info(f"squashed {len(result.layers) - base} layers into one")
    made = store.images.stackable(made)
    config = made.config
    new = []
    for tag in options.tags:
        try:
            old = store.images.get(tag, made.platform)
        except (NotInStorage, StoreError):  # there is none, or it is damaged
            pass
        else:
            if old.layers == made.layers and _is_same(old, config, options):
                config = old.config  # one image under all its names
                continue
        new.append(replace(made, reference=canonical_name(tag), typed=tag, config=config))
    if new:
        store.images.put(*new)
    for tag in options.tags[:1]:
        forget_failure(store, tag)
    if options.iidfile or options.metadata_file:
        from sundog.image.builder.results import write_results

        write_results(store, options, config, made.layers)
    return replace(made, config=config)


def _records(state: BuildState) -> Mapping[str, bytes]:
    """Return by name what explains the misses of the next build.

    If the cache gets nothing of this one, that is what was known before.
    """
    if state.options.cache_mode == CACHE_DISABLED:
        known = {name: state.store.last_builds.get(name) for name in state.options.tags}
        return {name: record for name, record in known.items() if record}
    stages = [state.results[index].record for index in sorted(state.results)]
    if state.shared is not None:
        stages = [stage.renamed(state.shared.known) for stage in stages]
    return dict.fromkeys(state.options.tags, pack_stages(stages))


def _is_same(old: Image, new: ImageConfig, options: BuildOptions) -> bool:
    """Tell whether what is known of an image is the same; times count only if they were given."""
    known = old.config
    if options.epoch is None:
        known, new = without_times(known), without_times(new)
    return known == new and old.annotations == options.annotations


def _note_syntax(dockerfile: Dockerfile, report: Report) -> None:
    """Report that the parser directive ``syntax``, which names a parser, has no effect."""
    syntax = dockerfile.directive("syntax")
    if not syntax:
        return
    name = syntax.removeprefix("docker.io/").partition("@")[0].partition(":")[0]
    if name in _STANDARD_SYNTAXES:
        report.info(f"syntax directive: {syntax}: not needed, because this language is built in")
    else:
        report.warning(f"syntax directive ignored: {syntax}: the file is read as docker/dockerfile")
