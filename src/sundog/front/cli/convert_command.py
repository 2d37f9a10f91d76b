"""From a command line of ``ch-convert`` to an exit status: 0, or 1 if it failed."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager

from sundog.errors import EXIT_ERROR, UsageError
from sundog.front.cli.common_arguments import named_stores
from sundog.front.cli.convert_arguments import ConvertArguments, make_parser, parse
from sundog.front.cli.small_command import run_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from sundog.front.cli.report import Report, Transfer
    from sundog.image.convert.formats import Place

_AGAIN, _MINUTE = 0.1, 60.0  # seconds


class _Progress:
    """The messages of a conversion: a line for each stage, and its bytes on a terminal.

    Elsewhere ``telling`` has it tell once a minute that it lives.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self._stage = "starting"
        self._start = time.monotonic()

    def stage(self, verb: str, total: int | None) -> Transfer:
        """Tell that a stage begins."""
        self._stage = verb
        self.report.info(f"{verb} ...")
        return self.report.quiet_transfer("ch-convert", verb, total)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Print a line a minute in the context, by a timer: threads would make forks dangerous."""
        if self.report.draws:
            yield
            return
        signal.signal(signal.SIGALRM, self._tell)
        signal.setitimer(signal.ITIMER_REAL, _MINUTE, _MINUTE)
        try:
            yield
        finally:
            if signal.getsignal(signal.SIGALRM) == self._tell:  # else a signal ends the command
                signal.setitimer(signal.ITIMER_REAL, 0)

    def _tell(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signal(2)
        minutes = (time.monotonic() - self._start) / 60
        try:
            self.report.info(f"{self._stage} ... still at work after {minutes:.0f} min")
        except RuntimeError:  # the signal has come in the middle of another line
            signal.setitimer(signal.ITIMER_REAL, _AGAIN, _MINUTE)


def run(argv: Sequence[str]) -> int:
    """Run ``ch-convert`` with these arguments; return the exit status.

    A negative status is the number of the signal that this process is to die of.
    """
    began = time.monotonic()
    source = ""

    def act(arguments: ConvertArguments, report: Report) -> int:
        nonlocal source
        if not arguments.dry_run:
            source = arguments.source or ""
        return _convert(arguments, report)

    status = run_command(
        argv, parse, make_parser, act, EXIT_ERROR, traces=lambda found: found.verbose > 1
    )
    if source:
        from sundog.front.cli.logged import log_conversion

        log_conversion(source, status, began)
    return status


def _convert(arguments: ConvertArguments, report: Report) -> int:
    if arguments.source is None or arguments.target is None:
        sys.stderr.write(make_parser().format_help())
        return EXIT_ERROR
    report.level = arguments.verbose - arguments.quiet
    from sundog.base.record.stored_path import path_in_storage
    from sundog.front.cli.registries import chosen_platform
    from sundog.image.convert.conversion import convert  # under the signals' care
    from sundog.image.convert.formats import (
        CH_IMAGE,
        DIRECTORY,
        Place,
        input_place,
        output_place,
    )
    from sundog.image.convert.options import Options
    from sundog.image.registry.leaving import have_images
    from sundog.image.transfer.packing import Packing

    if arguments.no_limits:
        from sundog.image.layer.limits import UNLIMITED, set_limits

        set_limits(UNLIMITED)
    source = input_place(arguments.source, arguments.in_fmt)
    target = output_place(arguments.target, arguments.out_fmt)
    stored = path_in_storage(os.fsencode(source.text)) if source.format == DIRECTORY else None
    storage = arguments.storage
    if stored is not None:
        storage = _storage_of(source, os.fsdecode(stored[0]), storage)
        source = Place(CH_IMAGE, stored[1])
    if arguments.image_stores and source.format != CH_IMAGE:
        raise UsageError(
            f"--image-store: {source.format} {source.text} is looked for in no store",
            "leave it out: it is for an IN of the format ch-image",
        )
    options = Options(
        storage,
        arguments.tmp,
        keeps_xattrs=not arguments.no_xattrs,
        clobbers=not arguments.no_clobber,
        is_dry=arguments.dry_run,
        packing=Packing.choose("gzip", os.environ),
        shared=named_stores(arguments.image_stores, report.warning),
        platform=chosen_platform(arguments.arch),
        complete=have_images,
    )
    report.verbose(f"verbose level: {report.level}")
    report.info(f"input:   {source.format:<8}  {source.text}")
    report.info(f"output:  {target.format:<8}  {target.text}")
    report.verbose(f"noclobber: {'will clobber' if options.clobbers else 'yes'}")
    report.verbose(f"{'preserving' if options.keeps_xattrs else 'discarding'} xattrs...")
    progress = _Progress(report)
    with progress.telling():
        convert(source, target, options, progress)
    report.info("done")
    return 0


def _storage_of(source: Place, directory: str, named: str | None) -> str:
    """Return ``directory``, in which ``source`` is by its path; --storage must not name another."""
    if named is not None and os.path.realpath(named) != os.path.realpath(directory):
        raise UsageError(
            f"--storage {named}: {source.text} is in another storage directory",
            "leave out --storage, or give the name of an image",
        )
    return directory
