"""After a build or a pull: what the configuration says about the size of storage."""

from __future__ import annotations

import os
import time
from dataclasses import replace

from sundog.base.configuration.holding import read_configuration
from sundog.base.configuration.keys import GC_ALL, GC_KEEP_DAYS, GC_MAX_SIZE
from sundog.base.record.stack import USE_FRESH
from sundog.base.spelling import byte_count
from sundog.errors import SundogError
from sundog.front.cli.output import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.configuration.holding import Holding
    from sundog.front.cli.common_arguments import ImageArguments
    from sundog.front.cli.report import Report
    from sundog.image.store.retention import Bounds

_SECONDS = 10  # for all that leaves


def configured_bounds(holding: Holding) -> Bounds | None:
    """Return the bounds that the configuration has; None if it has none."""
    days, sizes = holding.values(GC_KEEP_DAYS), holding.values(GC_MAX_SIZE)
    if not (days or sizes):
        return None
    from sundog.image.store.retention import Bounds  # few have such a configuration

    return Bounds.of(
        int(days[0]) if days else None, byte_count(sizes[0].decode()) if sizes else None
    )


def takes_images(holding: Holding) -> bool:
    """Tell whether images may leave, too."""
    return holding.values(GC_ALL) == (b"1",)


def keep_in_bounds(arguments: ImageArguments, report: Report) -> None:
    """Remove what the configuration does not let stay, for a few seconds.

    What was used in the last hour stays.  The command has done its work, so an error is a warning.
    """
    try:
        holding = read_configuration(os.environb)
        bounds = configured_bounds(holding)
        if bounds is None:
            return
        from sundog.image.store.retention import carry_out, plan_for
        from sundog.image.store.store import Store

        with Store.open(arguments.storage_path()) as store:
            until = time.monotonic() + _SECONDS
            bounds = replace(bounds, youngest=time.time() - USE_FRESH)
            plan = plan_for(store, bounds, lambda _: takes_images(holding), until)
            gone = carry_out(store, plan.leaving, until - time.monotonic())
        if gone:
            freed = human_size(sum(each.freed for each in gone))
            report.info(f"storage: removed what was used least recently: {len(gone)}, {freed}")
    except SundogError as error:
        report.warning(f"storage is not kept in bounds: {error.message}")
    except TimeoutError:
        report.warning(f"storage has not been measured in {_SECONDS} s: ch-image gc takes its time")
    except OSError as error:
        report.warning(f"storage is not kept in bounds: {error.strerror}")
