"""The processes that serve layers to containers of a test, and what fetches for them."""

import os
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest

from sundog.base.kernel.process import PR_SET_CHILD_SUBREAPER, prctl
from tests.conftest import until


@pytest.fixture
def subreaper() -> Generator[None]:
    """Make the servers that a test starts descendants of this process."""
    prctl(PR_SET_CHILD_SUBREAPER, b"", 1)
    yield
    prctl(PR_SET_CHILD_SUBREAPER, b"", 0)


def serving(name: str = "sundog-f") -> set[int]:
    """Return the servers of layers, and what fetches for them, that descend from this process.

    ``name`` is the beginning of theirs.  A test that uses it needs the fixture ``subreaper``.
    """
    parents, found = {}, set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            shown, _, rest = (entry / "stat").read_text().rpartition(")")
            state, parent = rest.split()[:2]
            parents[int(entry.name)] = int(parent)
            if state == "Z" and int(parent) == os.getpid() and f"({name}" in shown:
                os.waitpid(int(entry.name), 0)  # an orphan
            elif f"({name}" in shown:
                found.add(int(entry.name))
    return {one for one in found if os.getpid() in ancestors(one, parents)}


def end() -> None:
    """Wait until servers have ended: they write the record last."""
    until(lambda: not serving(), "the server ends")


def ancestors(process: int, parents: dict[int, int]) -> list[int]:
    """Return the ancestors of a process, its parent first."""
    found = []
    while process := parents.get(process, 0):
        found.append(process)
    return found
