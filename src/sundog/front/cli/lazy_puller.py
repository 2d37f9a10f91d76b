"""The child process of ``ch-run --lazy IMAGE``: it pulls what a start needs of an image."""

from __future__ import annotations

import gc
import os
import sys

from sundog.front.cli.answering import answer_with
from sundog.front.cli.registries import chosen_platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from sundog.front.cli.report import Report


def main() -> NoReturn:
    """Be the child.  The arguments: storage, image, architecture, verbosity."""
    gc.disable()  # tables of contents are many objects, and no garbage
    storage, image, arch, verbosity = sys.argv[1:]

    def load(report: Report) -> tuple[str, bool]:
        import hashlib

        from sundog.image.registry.options import PullOptions
        from sundog.image.registry.pull import pull
        from sundog.image.registry.session import Session
        from sundog.image.store.store import Store

        options = PullOptions(chosen_platform(arch), lazy=True)
        turn = f"pull-{hashlib.sha256(image.encode()).hexdigest()[:16]}"
        with (
            Store.open(storage, tell=report.info) as store,
            # Of many ranks, one asks the registry.
            store.turn(turn).held(lambda: report.verbose(f"waiting for another pull of {image}")),
        ):
            if not store.images.has(image, options.wanted):
                session = Session(os.environ, report)
                pull(store, session, image, image, options=options, report=report)
        return image, True

    answer_with(load, int(verbosity))
