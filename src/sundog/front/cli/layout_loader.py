"""The child process of ``ch-run oci:PATH[:TAG]``: it brings an image into the storage directory."""

from __future__ import annotations

import os
import sys

from sundog.front.cli.answering import answer_with

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from sundog.front.cli.report import Report


def main() -> NoReturn:
    """Be the child.  The arguments: storage, path, tag, verbosity, ``load`` or ``look``, a
    word that is not empty for ``--lazy``.
    """
    storage, path, tag, verbosity, action, lazy = sys.argv[1:]

    def load(report: Report) -> tuple[str, bool]:
        from sundog.image.convert.stored_layout import stored_layout
        from sundog.image.oci.platform import Platform
        from sundog.image.store.store import Store

        with Store.open(storage, tell=report.info) as store:
            found = stored_layout(
                store,
                os.fsencode(path),
                os.fsencode(tag),
                platform=Platform.of_host(),
                report=report,
                loads=action == "load",
                in_place=bool(lazy),
            )
        return found.name, found.is_there

    answer_with(load, int(verbosity))
