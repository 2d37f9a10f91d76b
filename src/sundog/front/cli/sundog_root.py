"""``sundog root``: become ``sundog-fakeroot`` with the same meaning."""

from __future__ import annotations

import os

from sundog.base.installation import own_command
from sundog.front.cli.sundog_scan import scanned
from sundog.front.cli.sundog_start import execute
from sundog.front.podman.mock_root_options import ROOT
from sundog.front.podman.statuses import PODMAN_STATUSES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.cli.sundog_context import Context


def root(words: Sequence[str], _context: Context) -> int:
    """Run a command as mock root; return an exit status unless this process becomes it."""
    line = scanned("root", words, ROOT, permute=False)
    if line is None:
        return 0
    options = ["--unknown-is-real"] if line.is_set("unknown-is-real") else []
    state = line.last("state")
    if state is not None:
        options += ["-i", state, "-s", state]
    command = [*own_command("sundog-fakeroot"), *options, "--", *line.operands]
    return execute(command, os.environ | PODMAN_STATUSES)
