"""``ch-image gc``: remove what was used least recently, so that storage stays in bounds."""

from __future__ import annotations

import math
import os

from sundog.base.configuration.holding import read_configuration
from sundog.front.cli.kept_bounds import configured_bounds, takes_images
from sundog.front.cli.output import human_size, print_json, print_line, print_table
from sundog.image.oci.timestamps import timestamp
from sundog.image.store.moving import remove_moved
from sundog.image.store.retention import EVERYTHING, Bounds, clear_out, plan_for
from sundog.image.store.store import Store
from sundog.image.store.verified_records import forget_verified

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sundog.front.cli.image_subcommands import CollectArguments
    from sundog.front.cli.report import Report
    from sundog.image.store.retention import Leaving

_DAY = len("2026-11-26")


def run(arguments: CollectArguments, report: Report) -> int:
    """Remove things, or tell what would be removed; return the exit status."""
    takes_all = arguments.all
    if arguments.keep_days is not None or arguments.max_size is not None:
        bounds = Bounds.of(arguments.keep_days, arguments.max_size)
    else:
        holding = read_configuration(os.environb)
        for line in holding.warnings:
            report.warning(line)
        configured = configured_bounds(holding)
        bounds = configured or EVERYTHING
        takes_all |= configured is not None and takes_images(holding)
    look = plan_for if arguments.dry_run else clear_out
    with report.watched("deleting"), Store.open(arguments.storage_path()) as store:
        plan = look(store, bounds, lambda _: takes_all)
        if not arguments.dry_run:
            remove_moved(store.path, report.info)
            forget_verified(store.path, report.info)
    if plan.is_busy:
        report.warning("another command uses the storage directory: no image is removed now")
    described = [_described(leaving) for leaving in plan.leaving]
    if arguments.format == "json":
        sizes = {"total": plan.total, "left": plan.left}
        print_json({"dry_run": arguments.dry_run, "removed": described, **sizes})
    else:
        rows = [
            (each["last_use"][:_DAY], human_size(each["freed"]), each["kind"], each["name"])
            for each in described
        ]
        if rows:
            print_table(rows)
        freed = human_size(plan.total - plan.left)
        verb = "would free" if arguments.dry_run else "freed"
        print_line(f"{verb} {freed} of {human_size(plan.total)}")
    if plan.left > bounds.limit:
        instead = "" if takes_all else ", or are images, which --all removes"
        text = (
            f"{human_size(plan.left)} are left, more than {human_size(math.ceil(bounds.limit))}: "
            f"containers or commands use them{instead}"
        )
        report.warning(text)
        report.withdraw(text)  # it is the last line: no need to repeat it
    return 0


def _described(leaving: Leaving) -> dict[str, Any]:
    item = leaving.item
    return {
        "kind": item.kind,
        "name": " ".join(item.name.split()),
        "platform": item.entry.platform if item.entry else None,
        "last_use": timestamp(int(item.last_use)),
        "freed": leaving.freed,
    }
