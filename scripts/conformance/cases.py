"""The Dockerfiles of tests/image/dockerfiles, each with its expect.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts.place import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

PLACE = CHECKOUT / "tests/image/dockerfiles"
EXPECT = "expect.toml"
EXCLUSIONS = PLACE / "exclusions.toml"
MOST_EXCLUSIONS = 10
BASE = "base"  # the base image's name in the Dockerfiles


@dataclass(frozen=True)
class Check:
    """A command to run in the image, and its expected output.

    ``argv`` comes after ch-run's ``--``; None stands for the image's own command.  A check with
    ``paths`` runs nothing: it lists all files of the image.
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

    ``force`` is the mode of root emulation.  Every test run has the ``quick`` cases.  Both builders
    get the ``options``.
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

    @property
    def stages(self) -> int:
        """The number of FROM lines."""
        lines = (self.path / "Dockerfile").read_text().splitlines()
        return sum(line.startswith("FROM ") for line in lines)

    def options_in(self, context: Path) -> list[str]:
        """Return the options for a context in this directory."""
        return [option.replace("CONTEXT", str(context)) for option in self.options]


def cases() -> list[Case]:
    """Return all cases in order of their names."""
    return [Case.load(path.parent) for path in sorted(PLACE.glob(f"*/{EXPECT}"))]


def exclusions() -> dict[str, str]:
    """Return what the comparison leaves out: patterns of paths, and the reasons."""
    return tomllib.loads(EXCLUSIONS.read_text())
