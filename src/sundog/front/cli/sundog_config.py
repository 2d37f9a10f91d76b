"""``sundog config``: print what the configuration says, and from where; check it."""

from __future__ import annotations

import json
import os

from sundog.base.configuration.files import read_level, wait_until_settled
from sundog.base.configuration.holding import read_configuration
from sundog.base.configuration.keys import KEYS, VERIFY, YES
from sundog.base.configuration.kinds import KINDS
from sundog.base.configuration.level import levels
from sundog.base.configuration.stores import is_verified
from sundog.errors import EXIT_ERROR
from sundog.front.cli.output import print_line
from sundog.front.cli.sundog_context import new_report, run_safely
from sundog.front.cli.sundog_scan import scanned_alone
from sundog.front.podman.image_options import CONFIG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.configuration.holding import Holding
    from sundog.base.configuration.keys import Key
    from sundog.errors import SundogError
    from sundog.front.cli.report import Report
    from sundog.front.cli.sundog_context import Context


def config(words: Sequence[str], context: Context) -> int:  # noqa: ARG001 - as all subcommands
    """Print each key with its value and its source; return the exit status."""
    line = scanned_alone("config", words, CONFIG)
    if line is None:
        return 0
    is_check, is_write = line.is_set("check"), line.is_set("write")

    def action() -> int:
        report = new_report()
        if is_write:
            _write_records(report)
        found: list[SundogError] = []
        holding = read_configuration(os.environb, found if is_check else None)
        if is_check:
            from sundog.front.cli.config_check import problems  # only for --check

            found += problems(holding)
            # Some of the checks read the files themselves, and meet the same mistakes again.
            for problem in {problem.message: problem for problem in found}.values():
                report.error(problem)
            return EXIT_ERROR if found else 0
        for text in holding.warnings:
            report.warning(text)
        for key in KEYS:
            print_line(_described(holding, key))
        return 0

    return run_safely(action)


def _write_records(report: Report) -> None:
    """Write the records of the levels whose files this user may write.  Raises SundogError."""
    warnings: list[str] = []
    for level in levels(os.environb):
        if level.writer == os.geteuid() and level.stamps():
            wait_until_settled(level)
            read_level(level, warnings, write=True)
    for text in warnings:
        report.warning(text)


def _described(holding: Holding, key: Key) -> str:
    """Return a line of TOML that says the value of a key, and its source as a comment."""
    source = holding.source(key)
    if not source:
        return f"# {key.path}: not set"
    values = [value.decode("utf-8", "backslashreplace") for value in holding.values(key)]
    shown: object = values if KINDS[key.kind].is_list else values[0]
    if key.kind == "boolean":
        shown = is_verified(holding) if key is VERIFY else holding.values(key) == YES
    elif key.kind == "days":
        shown = int(values[0])
    # A string of JSON is one of TOML, and so is a truth or a number.
    return f"{key.path} = {json.dumps(shown, ensure_ascii=False)}  # {source}"
