"""Build the image of a definition file, by the builder of Dockerfiles."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, replace

from sundog.errors import DockerfileError, SundogError
from sundog.image.builder.bases import Bases
from sundog.image.builder.definition.agents import Converted, Dockerfile, Registry, RegistryFile
from sundog.image.builder.definition.plan import plan_of
from sundog.image.builder.document import read_document
from sundog.image.builder.executor import build, build_unnamed
from sundog.image.builder.files.context import BuildContext
from sundog.image.builder.graph import StageGraph, context_key
from sundog.image.builder.own_step import StepMaker
from sundog.image.builder.places import Places
from sundog.image.builder.scope import GlobalScope
from sundog.image.builder.state import BuildState
from sundog.image.convert.checks import check_input
from sundog.image.convert.formats import CH_IMAGE, SIF, Place
from sundog.image.convert.options import Options
from sundog.image.convert.source import Source
from sundog.image.dockerfile.parse import SIZE_LIMIT, parse
from sundog.image.oci.config import ImageConfig
from sundog.image.store.image_files import Image
from sundog.image.transfer.packing import Packing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from sundog.image.builder.definition.plan import Plan, PlannedBase, Wanted
    from sundog.image.builder.options import BuildOptions
    from sundog.image.builder.report import Report
    from sundog.image.convert.options import Progress
    from sundog.image.definition.values import Definition
    from sundog.image.oci.platform import Platform
    from sundog.image.store.store import Store

    class BuildReport(Report, Progress, Protocol):
        """The messages of a build, and of the conversion of its bases."""


_DOCKERFILE = "Dockerfile"


def build_definition(
    store: Store,
    definition: Definition,
    wanted: Wanted,
    options: BuildOptions,
    report: BuildReport,
    *,
    fetch_file: Callable[[str], str],
) -> None:
    """Build an image and put it in place under the names in ``options.tags``.

    ``fetch_file`` returns the path of the SIF at an address of a registry.  Raises DockerfileError,
    BuildError and the errors of the store; then the images that had these names are unchanged.
    """
    plan, planned, warnings = plan_of(definition, wanted, os.uname().machine)
    for text in warnings:
        report.warning(text)
    shared = _Shared(store, plan, options, report, fetch_file)
    contexts = {context_key(text): _Base(base, shared) for text, base in planned.items()}
    build(store, plan, replace(options, contexts=contexts, ignores_triggers=True), report)


@dataclass(frozen=True, slots=True)
class _Shared:
    store: Store
    plan: Plan
    options: BuildOptions
    report: BuildReport
    fetch_file: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class _Base:
    """The base of a stage, as ``bases.Loadable``."""

    planned: PlannedBase
    shared: _Shared

    def load(self, platform: Platform | None) -> Image:
        """Run %pre, and return the base.  Raises SundogError."""
        shared, start = self.shared, self.planned.start
        if self.planned.pre is not None:
            self._run_pre()
        if isinstance(start, Registry):
            options = shared.options
            bases = Bases(shared.store, options.pull, is_dry=False, share=options.share)
            image = bases.find(start.name, platform) or bases.fetch(start.name, platform)
            assert image is not None
            return image
        if isinstance(start, RegistryFile):
            return self._converted(Place(SIF, shared.fetch_file(start.address)))
        if isinstance(start, Converted):
            return self._converted(start.place)
        assert isinstance(start, Dockerfile)
        return self._built(start)

    def _converted(self, place: Place) -> Image:
        """Return an image that ``ch-convert`` reads."""
        shared = self.shared
        check_input(place)
        options = Options(
            os.fsdecode(shared.store.path),
            None,
            keeps_xattrs=True,
            clobbers=False,
            is_dry=False,
            packing=Packing.choose("gzip", shared.options.environment),
        )
        with ExitStack() as stack:
            source = Source(place, options, shared.report, stack, target=CH_IMAGE)
            return source.image_in(shared.store)

    def _run_pre(self) -> None:
        """Run the commands of the host; the tree that they see is discarded."""
        shared, pre = self.shared, self.planned.pre
        assert pre is not None
        state = _state(shared)
        state.report.info(f"{pre.name} (line {pre.line})")
        step = pre.step(StepMaker(state, ImageConfig(), lambda _: ()))
        try:
            with shared.store.driver.begin((), bare=True) as snapshot:
                step.execute(snapshot)
        except DockerfileError:
            raise
        except SundogError as error:
            raise shared.plan.error(pre, error.message, hint=error.hint) from error

    def _built(self, start: Dockerfile) -> Image:
        """Return the image of a Dockerfile."""
        shared, options = self.shared, self.shared.options
        path = os.path.join(start.directory, start.file or _DOCKERFILE)
        parsed = parse(read_document(path, SIZE_LIMIT), path=path)
        own = replace(
            options,
            context=BuildContext(start.directory, path, option="From"),
            build_args=start.build_args,
            target=start.target,
            contexts={},
            ignores_triggers=False,
        )
        result = build_unnamed(shared.store, parsed, own, shared.report)
        return Image("", "", result.config, result.layers or ())


def _state(shared: _Shared) -> BuildState:
    """Return the state of a build without stages."""
    options = shared.options
    scope = GlobalScope(options.build_args, {}, options.environment)
    return BuildState(
        shared.store, shared.plan, options, shared.report, scope, StageGraph((), ()), Places(())
    )
