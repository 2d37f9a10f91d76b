"""A build's result on its way out of storage: to files and to registries."""

from __future__ import annotations

import os
from functools import cached_property

from sundog.errors import UsageError
from sundog.front.cli.build_outputs import PUSHED
from sundog.front.cli.registries import open_session
from sundog.image.convert.checks import check_output
from sundog.image.convert.conversion import convert_built
from sundog.image.convert.formats import CH_IMAGE, TAR, Place, compression
from sundog.image.convert.options import Options
from sundog.image.registry.leaving import have_images
from sundog.image.transfer.packing import Packing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.front.cli.build_arguments import BuildArguments
    from sundog.front.cli.build_outputs import Output
    from sundog.front.cli.report import Report, Transfer
    from sundog.image.registry.session import Session
    from sundog.image.store.image_files import Image
    from sundog.image.store.store import Store

_UNNAMED = "image"


class _Progress:
    """The messages of a conversion; see ``convert.options.Progress``."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def stage(self, verb: str, total: int | None) -> Transfer:
        """Tell that a stage begins."""
        self.report.info(f"{verb} ...")
        return self.report.quiet_transfer("build", verb, total)


class Exports:
    """The destinations of a build's result, besides its names in storage.

    ``names`` are the result's; where it has none in storage, archives have them all the same.
    """

    def __init__(
        self,
        outputs: Sequence[Output],
        names: Sequence[str],
        arguments: BuildArguments,
        report: Report,
        *,
        attempts: int,
        environment: Mapping[str, str],
    ) -> None:
        self._outputs = outputs
        self._names = tuple(filter(None, names)) or (_UNNAMED,)
        self._arguments = arguments
        self._report = report
        self._attempts = attempts
        self._environment = environment

    @cached_property
    def _session(self) -> Session:
        return open_session(
            self._arguments, self._report, authenticated=True, attempts=self._attempts
        )

    def check(self, platforms: int) -> None:
        """Find out whether the destinations are possible, before any work; raise SundogError.

        ``platforms`` is the number of images that are built.
        """
        for place in (output.place for output in self._outputs):
            if place is not None:
                if platforms > 1:
                    raise UsageError(
                        f"--output: {place.text} has place for one platform, not for {platforms}",
                        "put them into storage with -t NAME; then: ch-image save NAME, or push",
                    )
                check_output(Place(CH_IMAGE, ""), place, clobbers=True, info=self._report.verbose)
                if place.format == TAR:
                    compression(place.text)
        pushes = [output for output in self._outputs if output.pushes]
        if pushes and not self._arguments.tag and not all(output.names for output in pushes):
            raise UsageError(
                "no name to push to", "name it with -t HOST/PATH:TAG, or with name=HOST/PATH:TAG"
            )
        if pushes:
            from sundog.image.registry.push import destination  # few builds push

            for name, compressed in self._pushed().items():
                destination(self._session, name)
                self._packing(compressed)

    def write(self, store: Store, images: Sequence[Image]) -> None:
        """Write files, then push; raise SundogError at the first failure.

        Several images, each for another platform, become one index.
        """
        if not images:  # a dry run
            return
        for output in self._outputs:
            if output.place is None:
                continue
            options = Options(
                os.fsdecode(store.path),
                None,
                keeps_xattrs=True,
                clobbers=True,
                is_dry=False,
                packing=self._packing(output.compression),
                complete=have_images,
            )
            names = output.archived or self._names
            self._report.info(f"writing:         {output.place.text}")
            convert_built(
                store,
                images[0],
                names,
                output.place,
                options=options,
                progress=_Progress(self._report),
            )
        for name, compressed in self._pushed().items():
            self._push(store, images, name, self._packing(compressed))

    def _pushed(self) -> Mapping[str, str]:
        """Return the names to push to, each with the compression.  Raises UsageError.

        A name that an output is pushed to is no other output's, unless -t has it, too.
        """
        own = {name for output in self._outputs if output.pushes for name in output.names}
        others = [name for name in self._names if name not in own or name in self._arguments.tag]
        found: dict[str, str] = {}
        for output in (output for output in self._outputs if output.pushes):
            for name in output.names or others:
                chosen = found.setdefault(name, output.compression)
                if chosen != output.compression and output is not PUSHED:
                    raise UsageError(
                        f"{name}: two compressions: {chosen} and {output.compression}",
                        "give each a name of its own, as in type=registry,name=HOST/PATH:TAG",
                    )
        return found

    def _push(self, store: Store, images: Sequence[Image], name: str, packing: Packing) -> None:
        from sundog.image.registry.push import destination, push_images  # few builds push

        session, report = self._session, self._report
        report.info(f"pushing image:   {name}")
        remote = destination(session, name)
        digest = push_images(store, session, images, remote, packing=packing, report=report)
        report.info(f"pushed:          {name}@{digest}")

    def _packing(self, compressed: str) -> Packing:
        return Packing.choose(compressed, self._environment)
