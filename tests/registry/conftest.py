"""A registry for all tests, and one for each that wants to see it fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.registry.servers import InProcessRegistry, docker_registry

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Return ``HOST:PORT`` of Debian's docker-registry, without TLS and logins."""
    with docker_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture
def in_process() -> Generator[InProcessRegistry]:
    """Return a registry in this process, empty, that fails on request."""
    with InProcessRegistry().serve() as registry:
        yield registry
