"""From a command line of ``ch-fromhost`` to an exit status: 0, or 1 if it failed."""

from __future__ import annotations

import os
import sys

from sundog.errors import EXIT_ERROR, UsageError
from sundog.front.cli.fromhost_arguments import FromhostArguments, make_parser, parse
from sundog.front.cli.output import print_bytes, print_line
from sundog.front.cli.small_command import run_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.cli.report import Report


def run(argv: Sequence[str]) -> int:
    """Run ``ch-fromhost`` with these arguments; return the exit status.

    A negative status is the number of the signal that this process is to die of.
    """
    if not argv:
        sys.stderr.write(make_parser().format_help())
        return EXIT_ERROR
    return run_command(argv, parse, make_parser, _act, EXIT_ERROR)


def _act(arguments: FromhostArguments, report: Report) -> int:
    from sundog.image.fromhost.image import check_image  # under the signals' care
    from sundog.image.fromhost.injection import (
        Options,
        inferred_fabric,
        inferred_libraries,
        inferred_providers,
        inject,
    )
    from sundog.image.fromhost.lists import Wanted, listed

    report.level = arguments.verbose - arguments.quiet
    image = arguments.images[0]
    check_image(image)
    options = Options(not arguments.no_ldconfig, os.environ)
    printed = [
        inferred(image, options, report)
        for is_asked, inferred in (
            (arguments.print_lib, inferred_libraries),
            (arguments.print_fi, inferred_providers),
            (arguments.print_cray_fi, inferred_fabric),
        )
        if is_asked
    ]
    for line in printed:
        print_bytes(line)
    if printed:
        return 0
    if not arguments.files:
        raise UsageError("empty file list", "name files by --path, --file, --cmd or --nvidia")
    files = [
        Wanted(path, os.fsencode(option.destination))
        for option in arguments.files
        for path in listed(option.option, option.value, os.environ)
    ]
    if not files:
        raise UsageError("empty file list", "the lists name no file")
    inject(image, files, options, report)
    if report.level >= 0:
        print_line("done")
    return 0
