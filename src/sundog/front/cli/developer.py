"""Help for developers: ``--profile``, ``--break``, and what ``--dependencies`` prints."""

from __future__ import annotations

import os
from importlib.util import find_spec

from sundog.errors import EXIT_ERROR, UsageError
from sundog.front.cli.output import print_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

_PROFILE = "profile"
_PACKAGE = "sundog"
# Programs that some features need, and these features.
_PROGRAMS = {
    "git": "ADD of a git repository, and a repository as context",
    "rsync": "RSYNC",
    "ssh-agent": "build --ssh with a key",
}


def print_missing() -> int:
    """Print the programs that are missing here; return 0 if there are none."""
    from shutil import which

    missing = {name: use for name, use in _PROGRAMS.items() if which(name) is None}
    for name, use in missing.items():
        print_line(f"missing dependency: {name}: {use}")
    return EXIT_ERROR if missing else 0


def profiled(action: Callable[[], T]) -> Callable[[], T]:
    """Return ``action`` with a profile of this process, which is written even if it fails."""

    def run() -> T:
        import cProfile  # for developers
        import pstats

        profile = cProfile.Profile()
        try:
            return profile.runcall(action)
        finally:
            profile.dump_stats(f"{_PROFILE}.p")
            with open(f"{_PROFILE}.txt", "w", encoding="utf-8") as file:
                pstats.Stats(profile, stream=file).sort_stats("cumulative").print_stats()

    return run


def stopping(action: Callable[[], T], module: str, line: int) -> Callable[[], T]:
    """Return ``action`` under the debugger, which stops before a line; raise UsageError.

    The name of the module may leave out ``sundog.``.
    """
    path = _source(module)
    import pdb  # for developers

    debugger = pdb.Pdb(nosigint=True, readrc=False)
    if fault := debugger.set_break(path, line):
        raise UsageError(f"--break: {os.path.basename(path)}:{line}: {fault}")
    debugger.rcLines = ["continue"]  # not in the first line that runs

    def run() -> T:
        result: T = debugger.runcall(action)  # type: ignore[assignment]
        return result

    return run


def _source(module: str) -> str:
    for name in (f"{_PACKAGE}.{module}", module):
        try:
            spec = find_spec(name)
        except (ImportError, ValueError):
            continue
        if spec is not None and spec.origin is not None and spec.has_location:
            return spec.origin
    raise UsageError(f"--break: no such module: {module}", "as in --break image.builder.stage:100")
