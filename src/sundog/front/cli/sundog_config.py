"""``sundog config``: print what the configuration says, and from where; check it."""

from __future__ import annotations

import json
import os

from sundog.base.configuration.files import read_level, wait_until_settled
from sundog.base.configuration.holding import read_configuration
from sundog.base.configuration.keys import IMAGE_STORES, KEYS, STORAGE_PLACES, TRUSTED_OWNERS, YES
from sundog.base.configuration.kinds import KINDS
from sundog.base.configuration.level import levels
from sundog.base.configuration.storage import configured_storage
from sundog.base.configuration.stores import (
    account_id,
    open_store,
    owner_ids,
)
from sundog.base.kernel.libc import printable
from sundog.errors import EXIT_ERROR, StoreError, SundogError
from sundog.front.cli.build_defaults import default_force
from sundog.front.cli.output import print_line
from sundog.front.cli.run_defaults import run_defaults
from sundog.front.cli.sundog_context import new_report, run_safely
from sundog.front.cli.sundog_scan import scanned_alone
from sundog.front.podman.image_options import CONFIG
from sundog.image.registry.config import Registries
from sundog.image.registry.configured import configured_authorities, trust_authorities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sundog.base.configuration.holding import Holding
    from sundog.base.configuration.keys import Key
    from sundog.front.cli.report import Report
    from sundog.front.cli.sundog_context import Context


def _check_authorities(environment: Mapping[str, str]) -> None:
    """Raise SundogError if the certificate authorities can't be used."""
    import ssl  # only for --check

    path, source = configured_authorities(environment)
    if path:
        trust_authorities(ssl.create_default_context(), path, source)


_CHECKS = (default_force, _check_authorities, Registries.load)


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
        holding = read_configuration(os.environb, from_files=is_check)
        if is_check:
            problems = list(_problems(holding))
            for problem in problems:
                report.error(problem)
            return EXIT_ERROR if problems else 0
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
        shown = holding.values(key) == YES
    elif key.kind == "days":
        shown = int(values[0])
    # A string of JSON is one of TOML, and so is a truth or a number.
    return f"{key.path} = {json.dumps(shown, ensure_ascii=False)}  # {source}"


def _problems(holding: Holding) -> Iterator[SundogError]:
    """Give what ``--check`` finds beyond mistakes in the files: what will have no effect."""
    for text in holding.warnings:
        yield SundogError(text)
    owners = holding.values(TRUSTED_OWNERS)
    for account in owners:
        if account_id(account) is None:
            yield SundogError(f"{TRUSTED_OWNERS.path}: no such account: {printable(account)}")
    for path in holding.values(IMAGE_STORES):
        try:
            open_store(path, owner_ids(owners)).close()
        except StoreError as error:
            yield error
    try:
        run_defaults(holding)
    except SundogError as error:
        yield error
    for check in _CHECKS:
        try:
            check(os.environ)
        except SundogError as error:
            yield error
    if holding.said(STORAGE_PLACES) and not configured_storage(os.environb, holding):
        yield SundogError(f"{STORAGE_PLACES.path}: no place is there, and none can be made")
