"""Selection of tests: their order, those for the second Python, and the diagonals of matrices."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# A second Python can show a difference of the language, the standard library, or a C extension.  So
# the second run leaves out directories whose subjects are the kernel and compiled programs.
NEWEST_ONLY = ("native", "notify")
# Compression and archives are the work of the standard library and of C extensions.
EVERY_CASE = tuple(
    f"/layer/test_{name}.py"
    for name in ("compression", "file_stream", "holes", "tar", "unpack", "write_tar")
)
SAMPLED = 10  # of a module's functions that work with files, the first, and one of so many

# A test of these may take a minute, or sleep for long.  They come first, so that no process of
# pytest works on one at the end while the others have nothing left to do.
LONGEST = ("cluster", "dockerfiles", "shared_store", "system")
FOR_SECONDS = "test_fuzz"  # modules of that name fill a given time

# These are about the storage drivers.  So the tests above them may take turns.
OF_DRIVERS = ("layer", "store")

MARKERS = (
    "slow: takes seconds, or repeats much; run on one Python version only",
    "matrix: crosses parameters; a diagonal has each value of each one, `make test MATRICES=1` all",
)


def put_longest_first(items: list[pytest.Item], processes: int) -> None:
    """Put the longest tests first in each of the equal parts with which ``processes`` begin.

    Those of a directory stay together: they share what is made once in a process.  The modules of
    ``system`` share nothing.
    """
    longest: defaultdict[Path, list[pytest.Item]] = defaultdict(list)
    others = []
    for item in items:
        module = item.path
        if module.parent.name not in LONGEST and module.stem != FOR_SECONDS:
            others.append(item)
        else:
            longest[module if module.parent.name == "system" else module.parent].append(item)
    dealt: list[list[pytest.Item]] = [[] for _ in range(processes)]
    for together in sorted(longest.values(), key=len, reverse=True):
        min(dealt, key=len).extend(together)
    total = len(items)
    items.clear()
    for number, part in enumerate(dealt, 1):
        items += part
        count = max(0, total * number // processes - len(items))
        items += others[:count]
        del others[:count]


def mark_slow(items: Sequence[pytest.Item]) -> None:
    """Mark as slow what the second run leaves out.

    It leaves out the directories ``NEWEST_ONLY``, and most tests that work with files.  Those of a
    module mostly differ in what kernel, shell and image do, and so do the cases of a table: of one
    that is taken, the first is.  Tests of functions that need no files are quick, and left whole.
    """
    functions: Counter[Path] = Counter()
    seen: set[str] = set()
    for item in items:
        directory, function = item.path.parent.name, item.nodeid.partition("[")[0]
        is_left = directory not in NEWEST_ONLY
        if (
            is_left
            and not str(item.path).endswith(EVERY_CASE)
            and works_with_files(item)
            and not item.get_closest_marker("slow")
        ):
            is_left = function not in seen and functions[item.path] % SAMPLED == 0
            functions[item.path] += function not in seen
            seen.add(function)
        if not is_left:
            item.add_marker(pytest.mark.slow)


def works_with_files(item: pytest.Item) -> bool:
    """Tell whether a test, or a fixture that it asks for, has a directory of its own."""
    return "tmp_path_factory" in getattr(item, "fixturenames", ())


def off_the_diagonals(items: Sequence[pytest.Item]) -> set[pytest.Item]:
    """Return the tests of matrices that a run without whole matrices leaves out.

    A test that is marked ``matrix`` is one by its parameters.  A module with tests that run on each
    storage driver is one of their cases and the drivers, unless it is about the drivers.
    """
    matrices: defaultdict[str, dict[pytest.Item, dict[str, str]]] = defaultdict(dict)
    for item in items:
        function = item.nodeid.partition("[")[0]
        values = {name: repr(value) for name, value in _parameters(item).items()}
        if item.get_closest_marker("matrix"):
            assert values, f"{item.nodeid} has no parameters to cross"
            matrices[function][item] = values
        elif "driver" in values and item.path.parent.name not in OF_DRIVERS:
            driver = values.pop("driver")
            matrices[str(item.path)][item] = {"case": f"{function} {values}", "driver": driver}
    left_out = set()
    for matrix in matrices.values():
        kept = diagonal([*matrix.values()])
        left_out |= {item for number, item in enumerate(matrix) if number not in kept}
    return left_out


def _parameters(item: pytest.Item) -> dict[str, object]:
    callspec = getattr(item, "callspec", None)
    return dict(callspec.params) if callspec else {}


def diagonal(cases: Sequence[Mapping[str, str]]) -> set[int]:
    """Return the numbers of few of the cases that together have each value of each parameter.

    Each of them has the most values that none before it has, and of such cases it is the one whose
    values were taken least often.
    """
    taken: Counter[tuple[str, str]] = Counter()
    kept: set[int] = set()
    while True:
        new = [sum(not taken[value] for value in case.items()) for case in cases]
        if not any(new):
            return kept
        best = min(
            range(len(cases)),
            key=lambda number: (-new[number], sum(taken[value] for value in cases[number].items())),
        )
        kept.add(best)
        taken.update(cases[best].items())
