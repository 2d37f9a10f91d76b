"""The server that runs the parsers of the compiled ``ch-run``."""

from collections.abc import Iterator

import pytest

from tests.runtime.native.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("harness"))
    (server.directory / "vars").write_bytes(b"A=1\nB='$A'\n\nC=\n")
    (server.directory / "bad").write_bytes(b"A=1\nB\n")
    yield server
    server.close()
