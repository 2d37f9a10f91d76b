"""HTTP by hand: answers of all kinds, connections that are kept, and ways through proxies."""

from __future__ import annotations

import contextlib
import io
import re
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import sundog
from sundog.errors import BadAnswer, UnreachableError
from sundog.registry.answer import Answer
from sundog.registry.http import Request, read_all
from sundog.registry.transport import NetworkTransport
from tests.conftest import command
from tests.pull.conftest import shelf
from tests.pull.faulty import FaultyRegistry

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.conftest import Runner
    from tests.pull.images import Shelf
    from tests.registry.servers import InProcessRegistry

__all__ = ["shelf"]

_PARTS = st.sampled_from(
    [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 204\r\n", b"HTTP/1.1 100 C\r\n", b"\r\n", b"\n", b" ", b":",
     b"Content-Length: 3\r\n", b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n",
     b"Connection: close\r\n", b"3\r\nabc\r\n", b"0\r\n", b"0;x=y\r\n\r\n", b"ffff\r\n", b"-1\r\n",
     b"\0", b"\xff", b"abc", b"A: b\r\n", b" folded\r\n"]
)  # fmt: skip
_ANSWERS = st.one_of(
    st.lists(_PARTS, max_size=20).map(b"".join),
    st.lists(_PARTS, max_size=20).map(lambda parts: b"HTTP/1.1 200 OK\r\n" + b"".join(parts)),
    st.binary(max_size=200),
)


_IN_CHUNKS = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    b"1;x=y\r\na\r\n0A\r\n0123456789\r\n0\r\nT: x\r\n\r\n"
)


class Counted(io.BytesIO):
    """A stream that counts how often it is read."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        return super().read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        return super().readline(size)


@given(_ANSWERS, st.sampled_from(["GET", "HEAD"]), st.integers(1, 5))
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "GET", 2)
def test_an_answer_is_read_or_refused(sent: bytes, method: str, size: int) -> None:
    stream = Counted(sent)
    body = b""
    with contextlib.suppress(BadAnswer):
        answer = Answer(stream, method)
        assert 100 <= answer.status <= 999
        while data := answer.read(size):
            assert len(data) <= size
            body += data
        assert answer.is_complete
        assert answer.read(size) == b""
    assert len(body) <= len(sent)
    assert stream.reads <= 2 * len(sent) + 4


@pytest.mark.parametrize(
    ("sent", "body", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", b"ab", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab", b"ab", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", b"ab", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nab", b"ab", True),
        (b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n", b"", False),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", b"abc", False),
        (b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n", b"", True),
        (
            _IN_CHUNKS,
            b"a0123456789",
            True,
        ),
    ],
)
def test_where_an_answer_ends(sent: bytes, body: bytes, keeps: bool) -> None:
    rest = b"" if not keeps else b"HTTP/1.1 404 next"
    stream = io.BytesIO(sent + rest)
    answer = Answer(stream, "GET")
    assert b"".join(iter(lambda: answer.read(4), b"")) == body
    assert answer.keeps_connection == keeps
    assert stream.read() == rest


def test_fields_in_any_case_and_more_than_once() -> None:
    head = b"HTTP/1.1 401 No\r\nWWW-Authenticate: a\r\nwww-authenticate:b\r\n\tc\r\nX: \xe4\r\n\r\n"
    fields = Answer(io.BytesIO(head), "HEAD").fields
    assert fields["www-Authenticate"] == "a, b c"
    assert fields.get("x") == "\xe4"
    assert dict(fields) == {"www-authenticate": "a, b c", "x": "\xe4"}


class Accepting:
    """A server that counts connections and says the same on each, to each request."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.connections = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self.connections += 1
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while connection.recv(1 << 16):
                connection.sendall(self.answer)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", 1),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n\r\nsmuggled", 3),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab", 3),
    ],
)
def test_connections_are_kept_when_nothing_is_left_on_them(answer: bytes, connections: int) -> None:
    server = Accepting(answer)
    transport = NetworkTransport({})
    try:
        for _ in range(3):
            response = transport.send(Request("GET", server.url))
            assert read_all(response) == b"ab"
        assert server.connections == connections
    finally:
        transport.close()
        server.close()


@pytest.mark.parametrize("value", ["a\r\nX: y", "\x1b[2J", "\u20ac"])
def test_no_field_is_smuggled_into_a_request(value: str) -> None:
    server = Accepting(b"")
    transport = NetworkTransport({})
    try:
        with pytest.raises(UnreachableError, match="header field") as raised:
            transport.send(Request("GET", server.url, {"A": value}))
        assert raised.value.permanent
    finally:
        transport.close()
        server.close()


class ConnectProxy:
    """A proxy that connects, and sends bytes both ways; where ``certificate`` is, over TLS."""

    def __init__(self, target: int, certificate: tuple[Path, Path] | None) -> None:
        self.asked: list[bytes] = []
        self._target = target
        self._context = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._relay, args=(connection,), daemon=True).start()

    def _relay(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            stack.enter_context(connection)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += connection.recv(1)
            self.asked.append(head)
            if b"Basic dTpA" not in head:
                connection.sendall(b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n")
                return
            server = stack.enter_context(socket.create_connection(("127.0.0.1", self._target)))
            connection.sendall(b"HTTP/1.1 200 Connected\r\nX: y\r\n\r\n")
            back = threading.Thread(target=_pump, args=(server, connection), daemon=True)
            back.start()
            _pump(connection, server)
            back.join()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture(params=["http", "https"])
def proxy(
    request: pytest.FixtureRequest, shelf: Shelf, tls: tuple[Path, Path]
) -> Generator[tuple[str, ConnectProxy]]:
    """Yield a proxy and its scheme; behind it is a registry with TLS that has ``a:1``."""
    shelf.image(shelf.base(), tag="a:1")
    with FaultyRegistry(shelf).serve(tls) as registry:
        made = ConnectProxy(registry.port, tls if request.param == "https" else None)
        yield request.param, made
        made.close()


def test_tls_goes_through_a_proxy_with_and_without_tls(
    *, proxy: tuple[str, ConnectProxy], tls: tuple[Path, Path], run_ch_image: Runner
) -> None:
    scheme, server = proxy
    environment = {
        "https_proxy": f"{scheme}://u:%40@127.0.0.1:{server.port}",
        "SSL_CERT_FILE": str(tls[0]),
    }
    # The certificate is for 127.0.0.1, which no proxy is asked for.
    arguments = ("pull", "--tls-no-verify", "registry.invalid:4443/a:1")
    run_ch_image(*arguments, env=environment)
    assert {head.partition(b"\r\n")[0] for head in server.asked} == {
        b"CONNECT registry.invalid:4443 HTTP/1.1"
    }
    run_ch_image("delete", "registry.invalid:4443/a:1")
    environment["https_proxy"] = f"{scheme}://127.0.0.1:{server.port}"
    done = run_ch_image(*arguments, env=environment, check=False)
    assert "can't reach registry.invalid:4443 through its proxy: HTTP 407" in done.stderr


@pytest.fixture
def pulled(shelf: Shelf, run_ch_image: Runner) -> Iterator[FaultyRegistry]:
    """Yield a registry whose image ``a:1`` is in storage, and unchanged."""
    shelf.image(shelf.base(), tag="a:1")
    with FaultyRegistry(shelf).serve() as registry:
        run_ch_image("pull", f"{registry.host}/a:1")
        registry.asked.clear()
        yield registry


def test_an_unchanged_image_takes_one_request_and_few_modules(
    pulled: FaultyRegistry, storage: Path
) -> None:
    """What speaks HTTP, and what unpacks layers, once took most of the time."""
    script = (
        "import os, sys\n"
        "os._exit = lambda status: print(*sys.modules) or sys.exit(status)\n"
        "from sundog.cli.image import main\n"
        "sys.argv[1:] = sys.argv[2:]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "", "pull", f"{pulled.host}/a:1"],
        env={"PYTHONPATH": str(Path(sundog.__path__[0]).parent), "CH_IMAGE_STORAGE": str(storage)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "up to date" in done.stderr
    assert [(asked.method, asked.path) for asked in pulled.asked] == [("HEAD", "/v2/a/manifests/1")]
    modules = set(done.stdout.split())
    assert "sundog.registry.transport" in modules
    slow = {"hashlib", "http.client", "email", "logging", "pathlib", "random", "rich", "ssl"}
    assert not modules & {*slow, "urllib.request", "sundog.transfer.layers", "sundog.oci.manifest"}


def test_a_push_of_nothing_new_starts_no_process(
    *, in_process: InProcessRegistry, run_ch_image: Runner, busybox_tar: Path, storage: Path
) -> None:
    run_ch_image("import", busybox_tar, "image")
    run_ch_image("push", "image", f"{in_process.host}/a")
    trace = storage.parent / "trace"
    strace = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=clone,clone3,fork,vfork"]
    again = [*strace, *command("ch-image"), "-s", str(storage)]
    destination = f"{in_process.host}/a"
    subprocess.run([*again, "push", "image", destination], check=True, capture_output=True)
    calls = [line for line in trace.read_text().splitlines() if re.search(r"(clone|fork)", line)]
    assert calls
    assert all("CLONE_THREAD" in line for line in calls)
