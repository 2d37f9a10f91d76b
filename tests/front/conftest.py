"""Fixtures for tests of what users meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import runner

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner


@pytest.fixture
def run_ch_image(storage: Path) -> Runner:
    """Start ch-image on the test's own storage, as users do."""
    return runner("ch-image", storage, starts=True)
