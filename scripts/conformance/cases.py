"""The Dockerfiles of tests/dockerfiles, and what is expected of each: its expect.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts.place import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

PLACE = CHECKOUT / "tests/dockerfiles"
EXPECT = "expect.toml"
EXCLUSIONS = PLACE / "exclusions.toml"
MOST_EXCLUSIONS = 10
BASE = "base"  # what the Dockerfiles call the base image


@dataclass(frozen=True)
class Check:
    """Something to run in the image, and what it is to print.

    ``argv`` is after ``--`` of ch-run, None for what the image itself runs; ``paths`` are all that
    the image has: then nothing is run.
    """

    argv: tuple[str, ...] | None = None
    options: tuple[str, ...] = ("--set-env",)
    stdout: str | None = None
    matches: str | None = None
    status: int = 0
    paths: tuple[str, ...] = ()

    @classmethod
    def parse(cls, table: dict[str, Any]) -> Check:
        """Read a [[check]]."""
        argv = ["/bin/sh", "-c", table.pop("run")] if "run" in table else table.pop("argv", None)
        options = table.pop("options", ("--set-env",))
        paths = tuple(table.pop("paths", ()))
        command = tuple(argv) if argv else None
        return cls(argv=command, options=tuple(options), paths=paths, **table)


@dataclass(frozen=True)
class Case:
    """A Dockerfile with its context: ``path``.

    ``force`` is the mode in which it is built; ``quick`` ones are in every test run; ``options``
    are for both builders.
    """

    name: str
    path: Path
    base: str
    force: str
    quick: bool
    peer: bool
    options: tuple[str, ...]
    checks: tuple[Check, ...]

    @classmethod
    def load(cls, path: Path) -> Case:
        """Read the expect.toml in a directory."""
        table = tomllib.loads((path / EXPECT).read_text())
        checks = tuple(Check.parse(check) for check in table.pop("check"))
        return cls(
            name=path.name,
            path=path,
            base=table.pop("base"),
            force=table.pop("force"),
            quick=table.pop("quick", False),
            peer=table.pop("peer", True),
            options=tuple(table.pop("options", ())),
            checks=checks,
            **table,
        )

    def options_in(self, context: Path) -> list[str]:
        """Return the options, where the context is in this directory."""
        return [option.replace("CONTEXT", str(context)) for option in self.options]


def cases() -> list[Case]:
    """Return all cases in order of their names."""
    return [Case.load(path.parent) for path in sorted(PLACE.glob(f"*/{EXPECT}"))]


def exclusions() -> dict[str, str]:
    """Return what is not compared: patterns of paths, and why."""
    return tomllib.loads(EXCLUSIONS.read_text())
