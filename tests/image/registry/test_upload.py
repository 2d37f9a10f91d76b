"""Uploads: in chunks or whole, resumed after a break, tried again when that helps."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from sundog.errors import Cancelled, ProtocolError, RegistryError, UnreachableError
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.registry.auth import push_scope
from sundog.image.registry.client import RegistryClient
from sundog.image.registry.config import Endpoint
from sundog.image.registry.retries import RetryingTransport
from sundog.image.registry.transport import Urllib3Transport
from sundog.image.registry.upload import Uploader, mount
from tests.image.registry.servers import CutOff, InProcessRegistry, Refuse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHUNK = 1000
CONTENT = bytes(range(256)) * 20  # five chunks and a part
DIGEST = Digest.of(CONTENT)
DESCRIPTOR = Descriptor("application/octet-stream", DIGEST, len(CONTENT))
POST, PATCH, PUT = r"POST .*uploads/(\?.*)?", r"PATCH .*", r"PUT .*blobs.*"


class Sum:
    """A transfer that adds up its bytes."""

    def __init__(self) -> None:
        self.total = 0

    def advance(self, size: int) -> None:
        self.total += size

    def end(self) -> None:
        pass


def client(registry: InProcessRegistry, repository: str = "repo") -> RegistryClient:
    transport = RetryingTransport(Urllib3Transport({}), sleep=lambda _: None)
    endpoint = Endpoint(registry.host, repository)
    made = RegistryClient(endpoint, transport, lambda: None, scopes=(push_scope(repository),))
    made.check()  # a push does so too, to find out whether the registry speaks TLS
    return made


@pytest.fixture
def upload(in_process: InProcessRegistry, tmp_path: Path) -> Callable[..., int]:
    """Return a function that uploads CONTENT and returns how many bytes it reported."""
    path = tmp_path / "blob"
    path.write_bytes(CONTENT)

    def run(chunk: int = CHUNK) -> int:
        transfer = Sum()
        uploader = Uploader(
            client(in_process), threading.Event(), chunk=chunk, sleep=lambda _: None
        )
        uploader.upload(DESCRIPTOR, bytes(path), transfer)
        return transfer.total

    return run


def once(pattern: str, error: Exception, *, at: int = 1) -> Callable[[str], None]:
    """Return a fault that lets the matching request number ``at`` fail."""
    import re

    seen = 0

    def fault(request: str) -> None:
        nonlocal seen
        if re.fullmatch(pattern, request):
            seen += 1
            if seen == at:
                raise error

    return fault


def has_it(registry: InProcessRegistry) -> bool:
    return registry.blobs.get(("repo", str(DIGEST))) == CONTENT


def test_in_chunks(in_process: InProcessRegistry, upload: Callable[..., int]) -> None:
    assert upload() == len(CONTENT)
    assert has_it(in_process)
    assert in_process.count(PATCH) == 6
    assert in_process.received == len(CONTENT)


def test_at_once(in_process: InProcessRegistry, upload: Callable[..., int]) -> None:
    assert upload(len(CONTENT)) == len(CONTENT)
    assert has_it(in_process)
    assert (in_process.count(POST), in_process.count(PATCH), in_process.count(PUT)) == (1, 0, 1)


@pytest.mark.parametrize("chunk", [CHUNK, len(CONTENT)])
@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("error", [Refuse(500), Refuse(429, Retry_After="0"), CutOff()])
@pytest.mark.parametrize(
    ("pattern", "at"), [(POST, 1), (PATCH, 1), (PATCH, 4), (PUT, 1), (r"HEAD .*", 1)]
)
def test_failure_for_a_moment(
    *,
    in_process: InProcessRegistry,
    upload: Callable[..., int],
    pattern: str,
    at: int,
    error: Exception,
    where: str,
    chunk: int,
) -> None:
    setattr(in_process, where, once(pattern, error, at=at))
    assert upload(chunk) == len(CONTENT)
    assert has_it(in_process)
    assert in_process.received <= len(CONTENT) + chunk


def test_what_has_arrived_is_not_sent_again(
    in_process: InProcessRegistry, upload: Callable[..., int]
) -> None:
    in_process.after = once(PATCH, CutOff(), at=5)  # the chunk arrived; its answer did not
    assert upload() == len(CONTENT)
    assert in_process.received == len(CONTENT)


def test_upload_that_the_registry_forgot(
    in_process: InProcessRegistry, upload: Callable[..., int]
) -> None:
    def forget(request: str) -> None:
        if request.startswith("PATCH") and in_process.count(PATCH) == 3:
            in_process.uploads.clear()
            raise Refuse(500)

    in_process.before = forget
    assert upload() == len(CONTENT)
    assert has_it(in_process)


def test_new_token_in_the_middle(in_process: InProcessRegistry, upload: Callable[..., int]) -> None:
    in_process.token = "first"

    def expire(request: str) -> None:
        if request.startswith("PATCH") and in_process.count(PATCH) == 3:
            in_process.token = "second"
            in_process.before = lambda _: None
            raise Refuse(401, WWW_Authenticate=f'Bearer realm="http://{in_process.host}/token"')

    in_process.before = expire
    assert upload() == len(CONTENT)
    assert in_process.count(r"GET /token.*") == 2
    assert has_it(in_process)


@pytest.mark.parametrize(
    ("error", "expected", "complaint", "requests"),
    [
        (Refuse(500), RegistryError, "fails with HTTP 500", 5),
        (CutOff(), UnreachableError, "the connection broke", 5),
        (Refuse(400), RegistryError, "answers with HTTP 400", 1),
        (Refuse(404), RegistryError, "not in registry: upload to", 5),
        (Refuse(403), RegistryError, "not allowed by", 1),
        (Refuse(413), RegistryError, "answers with HTTP 413", 1),
    ],
)
def test_failure_for_good(
    *,
    in_process: InProcessRegistry,
    upload: Callable[..., int],
    error: Exception,
    expected: type[Exception],
    complaint: str,
    requests: int,
) -> None:
    def fail(request: str) -> None:
        if request.startswith("PATCH"):
            raise error

    in_process.before = fail
    with pytest.raises(expected, match=complaint):
        upload()
    assert in_process.count(PATCH) == requests
    assert not has_it(in_process)


def test_no_place_to_go_on(in_process: InProcessRegistry, upload: Callable[..., int]) -> None:
    def fail(request: str) -> None:
        if request.startswith("POST"):
            raise Refuse(202)

    in_process.before = fail
    with pytest.raises(ProtocolError, match="does not say where to go on"):
        upload()


def test_damaged_on_the_way(
    in_process: InProcessRegistry, tmp_path: Path, upload: Callable[..., int]
) -> None:
    (tmp_path / "blob").write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(RegistryError, match="wrong"):
        upload()
    assert not has_it(in_process)


def test_cancelled(in_process: InProcessRegistry, tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(CONTENT)
    cancelled = threading.Event()

    def cancel(request: str) -> None:
        if in_process.count(PATCH) == 2:
            cancelled.set()

    in_process.before = cancel
    uploader = Uploader(client(in_process), cancelled, chunk=CHUNK)
    with pytest.raises(Cancelled):
        uploader.upload(DESCRIPTOR, bytes(path), Sum())
    assert in_process.count(PATCH) == 2


def test_mount(in_process: InProcessRegistry) -> None:
    in_process.blobs["other", str(DIGEST)] = CONTENT
    assert mount(client(in_process), DIGEST, "other")
    assert has_it(in_process)
    assert in_process.received == 0


def test_mount_of_what_is_not_there(in_process: InProcessRegistry) -> None:
    assert not mount(client(in_process), DIGEST, "other")
    assert in_process.count(r"DELETE .*uploads.*") == 1
