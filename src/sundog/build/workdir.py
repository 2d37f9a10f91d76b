"""WORKDIR: the directory that the instructions after it, and containers, start in."""

from __future__ import annotations

import os
from dataclasses import dataclass

from sundog.build.keys import cache_key
from sundog.build.placement import make_directories
from sundog.build.tree_step import encoded
from sundog.launcher.step import in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.store.drivers import Snapshot
    from sundog.store.store import Store


@dataclass(frozen=True, slots=True)
class WorkdirStep:
    """WORKDIR: the directory is made if it is not there."""

    text: str
    path: str
    store: Store

    @property
    def is_bare(self) -> bool:
        """Return True."""
        return True

    @property
    def is_independent(self) -> bool:
        """Return False."""
        return False

    def key(self, layers: Sequence[str]) -> str:
        """Return the key: the path."""
        return cache_key("workdir", layers, self.path)

    def execute(self, snapshot: Snapshot) -> None:
        """Make the directory; raise BuildError if something else is there."""

        def make(roots: list[int]) -> None:
            os.close(make_directories(roots[0], encoded(self.path)))

        try:
            in_root([snapshot.root], make)
        except OSError:
            with self.store.faults:
                raise
