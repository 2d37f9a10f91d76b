"""The facts that each subcommand of ``sundog`` gets, and the ways in which it reports and runs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.front.cli.report import Report

EXIT_SUNDOG = 125  # podman-run(1): podman itself failed
ON_STDERR = "--stderr"  # the word for ``help`` if there is no subcommand


class Context:
    """The facts that each subcommand gets beside its own words."""

    def __init__(self, storage: str | None) -> None:
        self.storage = storage

    @property
    def image_options(self) -> list[str]:
        """The options of ``ch-image`` that say where the images are."""
        return [] if self.storage is None else [f"--storage={self.storage}"]


def new_report() -> Report:
    """Return what prints messages."""
    from sundog.front.cli.report import Report  # a run seldom says anything
    from sundog.front.cli.streams import open_closed

    open_closed()
    return Report()


def run_safely(action: Callable[[], int]) -> int:
    """Run what reads or changes files, under the signals' care; return the exit status."""
    from sundog.front.cli.running import run_action
    from sundog.front.cli.streams import name_stdout

    report = new_report()
    name_stdout()
    return run_action(action, report, EXIT_SUNDOG)


def image_line(words: Sequence[str], context: Context) -> int:
    """Run a line of ``ch-image``; return its exit status."""
    from sundog.front.cli import image_command

    return image_command.run([words[0], *context.image_options, *words[1:]])
