"""``ch-image build-cache``: show the build cache, or empty it in part or in full."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict

from sundog.errors import UsageError
from sundog.front.cli.output import human_size, print_json, print_line
from sundog.front.cli.reference_options import DOT_DEFAULT
from sundog.front.cli.registries import pull_options
from sundog.image.store.layer_tree import layer_nodes, usage
from sundog.image.store.retention import EVERYTHING, clear_out
from sundog.image.store.space import CACHE_MOUNT, RESULT
from sundog.image.store.store import Store
from sundog.image.store.verified_records import forget_verified
from sundog.image.transfer.packing import Packing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sundog.front.cli.image_subcommands import BuildCacheArguments
    from sundog.front.cli.report import Report
    from sundog.image.store.layer_tree import LayerNode, Usage

_WIDTH = 100
_STDOUT = "-"


def run(arguments: BuildCacheArguments, report: Report) -> int:
    """Reset, collect garbage and show the tree, as asked, in this order; print the summary."""
    path = arguments.storage_path()
    if arguments.export or arguments.source:
        return _moved(arguments, report)
    if arguments.images or arguments.stage:
        raise UsageError("build-cache: images and --stage are for --export", "add --export FILE")
    if arguments.reset or arguments.collect:
        # Closing the store removes what nothing needs any more.
        with report.watched("deleting"), Store.open(path) as store:
            if arguments.reset:
                report.info("deleting build cache")
                forgotten = store.cache.clear()
                store.deleted.clear()
                store.clear_imported()
                store.expect_garbage()
                removed = store.cache_mounts.clear()
            else:
                report.info("collecting cache garbage")
                plan = clear_out(store, EVERYTHING)
                forget_verified(store.path, report.info)
                forgotten, removed = plan.count(RESULT), plan.count(CACHE_MOUNT)
            report.info(f"forgot {forgotten} results, removed {removed} cache mounts")
    with Store.open(path) as store:
        nodes = layer_nodes(store)
        counted = usage(store, nodes)
    if arguments.dot is not None:
        from sundog.front.cli.developer import write_drawing

        write_drawing(nodes, arguments.dot or DOT_DEFAULT, report)
    if arguments.format == "json":
        value: dict[str, Any] = asdict(counted)
        if arguments.tree:
            value["tree"] = [asdict(node) for node in nodes]
        print_json(value)
        return 0
    if arguments.tree:
        _print_tree(nodes, is_long=report.is_verbose)
        print_line()
    _print_summary(counted)
    return 0


def _moved(arguments: BuildCacheArguments, report: Report) -> int:
    """Export results, or import them."""
    from sundog.image.builder.shared.archive import export_cache, import_cache  # seldom needed

    others = (arguments.reset, arguments.collect, arguments.tree, arguments.dot is not None)
    if any(others) or (arguments.export and arguments.source):
        raise UsageError("build-cache: --export and --import stand alone", "run it twice")
    with Store.open(arguments.storage_path()) as store:
        if arguments.source:
            if arguments.images or arguments.stage:
                raise UsageError("build-cache: --import takes all of a file", "leave the rest out")
            platform = pull_options(arguments).wanted
            count = import_cache(store, arguments.source, platform=platform, report=report)
            report.info(f"imported {count} results")
            return 0
        to_stdout = arguments.export == _STDOUT
        if to_stdout and sys.stdout.isatty():
            raise UsageError("standard output is a terminal", "name a file, or redirect it")
        exported = export_cache(
            store,
            sys.stdout.buffer if to_stdout else arguments.export,
            arguments.images,
            arguments.stage,
            packing=Packing.choose(arguments.compression, os.environ),
            report=report,
        )
    if exported.missing:
        report.info(f"not in storage, so not exported: {exported.missing} results")
    report.info(f"exported {exported.results} results")
    return 0


def _print_summary(counted: Usage) -> None:
    cached = f"{counted.cache_only_layers}, {human_size(counted.cache_only_size)}"
    rows = [
        ("named images", str(counted.images)),
        ("cached results", str(counted.entries)),
        ("layers", f"{counted.layers}, {human_size(counted.size)}"),
        ("only in the cache", cached),
    ]
    if counted.held_layers:
        held = f"{counted.held_layers}, {human_size(counted.held_size)}"
        rows.append(("deleted, but held", f"{held}: free when the containers that use them end"))
    for name, value in rows:
        print_line(f"{name + ':':19}{value}")


def _print_tree(nodes: Sequence[LayerNode], *, is_long: bool) -> None:
    """Return a drawing of the layers: each stands below the layer that it was made on.

    Of several layers that were made on one, the last continues the column of that layer.  The
    others branch off before it.
    """
    children: dict[str, list[LayerNode]] = {}
    for node in nodes:
        children.setdefault(node.parent, []).append(node)
    # (layer, the text left of it); the column of a branch ends with its last layer.
    ahead = [(node, "") for node in reversed(children.get("", ()))]
    while ahead:
        node, margin = ahead.pop()
        _print_node(node, margin, is_long=is_long)
        column = margin.replace("|-", "| ")
        for position, child in enumerate(reversed(children.get(node.layer, ()))):
            ahead.append((child, f"{column}|-" if position else column))


def _print_node(node: LayerNode, margin: str, *, is_long: bool) -> None:
    names = f"({', '.join(node.images)}) " if node.images else ""
    origin = " ".join(node.origin.split()) or "?"
    text = f"{margin}* {names}{origin}"
    if not is_long:
        print_line(text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…")
        return
    print_line(text)
    print_line(f"{margin.replace('|-', '| ')}  {node.layer}  {human_size(node.size)}")
