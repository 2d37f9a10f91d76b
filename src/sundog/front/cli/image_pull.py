"""``ch-image pull``: fetch an image from a registry."""

from __future__ import annotations

import os
from dataclasses import replace

from sundog.base.record.names import (
    DEFAULT_REGISTRY,
    canonical_name,
    name_to_directory,
    spelled_out,
    split_reference,
)
from sundog.errors import UsageError
from sundog.front.cli.kept_bounds import keep_in_bounds
from sundog.front.cli.output import print_line
from sundog.front.cli.registries import HOST, open_session, pull_options
from sundog.image.builder.bases import SCRATCH, scratch_config
from sundog.image.registry.pull import pull
from sundog.image.store.image_files import Image
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import PullArguments
    from sundog.front.cli.report import Report


def run(arguments: PullArguments, report: Report) -> int:
    """Pull an image, for each platform that is asked for; return the exit status."""
    reference = spelled_out(arguments.reference)
    name = arguments.destination or reference
    canonical_name(name)  # a bad name fails before the work begins
    if arguments.parse_only:
        _print_parsed(reference)
        return 0
    arches = [arch for text in arguments.platform for arch in text.split(",")]
    if arches and arguments.arch != HOST:
        raise UsageError("--platform and --arch say the same", "leave one of them out")
    wanted = [
        replace(pull_options(arguments, arguments.last_layer, arch=arch), lazy=arguments.lazy)
        for arch in dict.fromkeys(arches or arguments.arch.split(","))
    ]
    report.info(f"pulling image:    {reference}")
    if name != reference:
        report.info(f"destination:      {name}")
    with Store.open(arguments.storage_path(), tell=report.info) as store:
        report.verbose(f"storage directory: {os.fsdecode(store.path)}")
        session = None if reference == SCRATCH else open_session(arguments, report)
        for options in wanted:
            report.info(f"requesting arch:  {'yolo' if options.any_platform else options.wanted}")
            if session is None:  # it is in no registry
                config = scratch_config(options.wanted)
                store.images.put(Image(canonical_name(name), name, config, (), f"pull {SCRATCH}"))
            else:
                pull(store, session, reference, name, options=options, report=report)
    keep_in_bounds(arguments, report)
    report.info("done")
    return 0


def _print_parsed(text: str) -> None:
    """Print the parts of a reference, in Charliecloud's form."""
    registry, repository, tag, digest = split_reference(text)
    host, _, port = registry.partition(":")
    *path, name = repository.split("/")
    given = text.startswith(registry)
    is_tagged = tag and f":{tag}" in text
    print_line(f"as string:    {text}")
    print_line(f"for filename: {name_to_directory(canonical_name(text))}")
    print_line("fields:")
    print_line(f"  host    {host!r}" if given or registry != DEFAULT_REGISTRY else "  host    None")
    print_line(f"  port    {int(port) if port else None}")
    print_line(f"  path    {path if given or '/' in text.partition('@')[0] else []}")
    print_line(f"  name    {name!r}")
    print_line(f"  tag     {tag if is_tagged else None!r}")
    print_line(f"  digest  {digest.partition(':')[2] if digest else None!r}")
