"""``sundog install`` and ``sundog uninstall``: a directory for all users of a site."""

from __future__ import annotations

import os
import sys

from sundog.errors import UsageError
from sundog.front.cli.output import print_line
from sundog.front.cli.sundog_context import new_report, run_safely
from sundog.front.cli.sundog_scan import scanned_alone
from sundog.front.podman.site_options import INSTALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.front.cli.sundog_context import Context


def install(words: Sequence[str], context: Context) -> int:  # noqa: ARG001 - as all subcommands
    """Copy this installation into a directory for all users; return the exit status."""

    def action(prefix: str) -> None:
        from sundog.front.installing.tree import install as install_tree
        from sundog.front.installing.tree import may_be_private

        os.umask(0o022)  # all users read what is installed
        if may_be_private(sys.executable):
            python = os.path.realpath(sys.executable)
            new_report().warning(f"perhaps not all users can execute {python}")
        print_line(install_tree(prefix))

    return _with_prefix("install", words, action)


def uninstall(words: Sequence[str], context: Context) -> int:  # noqa: ARG001 - as all subcommands
    """Remove what ``install`` has made; return the exit status."""

    def action(prefix: str) -> None:
        from sundog.front.installing.tree import uninstall as uninstall_tree

        uninstall_tree(prefix)

    return _with_prefix("uninstall", words, action)


def _with_prefix(name: str, words: Sequence[str], action: Callable[[str], None]) -> int:
    line = scanned_alone(name, words, INSTALL)
    if line is None:
        return 0
    prefix = line.last("prefix")
    if not prefix:
        raise UsageError(f"{name}: no directory", f"sundog {name} --prefix /opt/sundog/VERSION")

    def run() -> int:
        action(os.path.realpath(prefix))
        return 0

    return run_safely(run)
