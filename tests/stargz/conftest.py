"""containerd with the stargz snapshotter, as a second reader and writer: `make stargz`.

Other runs do not collect these tests.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scripts.stargz import VARIABLE, Daemons

from tests.image.pull.flavours import serving

if TYPE_CHECKING:
    from collections.abc import Generator

PLACE = os.environ.get(VARIABLE, "")
collect_ignore_glob = [] if PLACE else ["test_*.py"]


@pytest.fixture(scope="session")
def daemons() -> Daemons:
    return Daemons(Path(PLACE))


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Return ``HOST:PORT`` of docker-registry."""
    with serving(tmp_path_factory.mktemp("registry"), "registry", {}, {}) as host:
        yield host
