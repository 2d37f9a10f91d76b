"""A registry for all tests, and one for each test that makes it fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.image.pull.conftest import flavours, tls
from tests.image.registry.servers import InProcessRegistry

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.image.pull.flavours import Flavours


__all__ = ["flavours", "tls"]


@pytest.fixture
def registry(flavours: Flavours) -> str:
    """Return ``HOST:PORT`` of Debian's docker-registry, without TLS and logins."""
    return flavours.http


@pytest.fixture
def in_process() -> Generator[InProcessRegistry]:
    """Return a registry in this process, empty, that fails on request."""
    with InProcessRegistry().serve() as registry:
        yield registry
