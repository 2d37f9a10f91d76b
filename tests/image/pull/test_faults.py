"""Registries fail: the user gets a clear error, and the store has nothing half-made."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from sundog.errors import UnreachableError
from sundog.image.registry.http import Request
from sundog.image.registry.transport import Urllib3Transport
from tests.image.layer.archives import file
from tests.image.pull.conftest import leftovers, refused
from tests.image.pull.faulty import Answer, Asked, FaultyRegistry, basic_login
from tests.image.pull.images import Shelf, digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Runner

BIG = os.urandom(3 << 20)


@pytest.fixture
def small(shelf: Shelf) -> Shelf:
    """Return a shelf with the image ``a:latest`` of two layers.  The upper layer has 3 MiB."""
    shelf.image(shelf.base(), shelf.layer(file("big", BIG)), tag="a:latest")
    return shelf


def blobs_asked(registry: FaultyRegistry) -> list[Asked]:
    return [asked for asked in registry.asked if asked.is_blob]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_passing_trouble_is_sat_out(
    small: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, status: int
) -> None:
    faulty.once(lambda _: Answer(status, {"Retry-After": "0"}), blobs=False)
    faulty.once(lambda _: Answer(status, {"Retry-After": "0"}))
    done = run_ch_image("pull", "-v", f"{faulty.host}/a")
    assert f"HTTP {status}; again in 0.0 s" in done.stderr
    assert run_ch_image("list").stdout == f"{faulty.host}/a\n"


def test_a_lasting_trouble_is_told(
    small: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, storage: Path
) -> None:
    error = b'{"errors": [{"code": "UNKNOWN", "message": "disk \\u001b[31mfull"}]}'
    faulty.always(lambda _: Answer(500, {"Retry-After": "0"}, error), blobs=False)
    done = run_ch_image("pull", f"{faulty.host}/a", check=False)
    refused(done, f"{faulty.host}/a:latest", "HTTP 500: disk \\x1b[31mfull")
    assert len(faulty.asked) == 5
    assert leftovers(storage) == []


def test_a_rate_limit_is_explained(
    small: Shelf, faulty: FaultyRegistry, run_ch_image: Runner
) -> None:
    limits = {
        "Retry-After": "3600",
        "RateLimit-Limit": "100;w=21600",
        "RateLimit-Remaining": "0;w=21600",
        "docker-ratelimit-source": "192.0.2.1",
    }
    faulty.always(lambda _: Answer(429, limits), blobs=False)
    done = run_ch_image("pull", f"{faulty.host}/a", check=False)
    refused(
        done,
        f"registry rate limit exceeded (HTTP 429): {faulty.host}",
        "0 pulls left of 100 per 6 hours (192.0.2.1), again in 3600 s",
        "hint: log in",
    )
    assert len(faulty.asked) == 1


def test_what_is_left_of_a_rate_limit_is_told(
    small: Shelf, faulty: FaultyRegistry, run_ch_image: Runner
) -> None:
    def limited(answer: Answer) -> Answer:
        limits = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "76;w=21600"}
        return Answer(answer.status, answer.headers | limits, answer.body)

    faulty.always(limited, blobs=False)
    done = run_ch_image("pull", f"{faulty.host}/a")
    assert f"rate limit of {faulty.host}: 76 pulls left of 100 per 6 hours" in done.stderr


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_connection_is_taken_up_where_it_broke(
    small: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, ranges: bool
) -> None:
    faulty.ranges = ranges
    cuts = [100_000, 1_000_000]

    def cut(asked: Asked, answer: Answer) -> Answer:
        if asked.is_blob and len(answer.body) > 2_000_000 and cuts:
            answer.cut = cuts.pop()
        return answer

    faulty.faults.append(cut)
    run_ch_image("pull", f"{faulty.host}/a")
    offsets = [asked.headers.get("Range") for asked in blobs_asked(faulty)]
    assert len([offset for offset in offsets if offset]) == 2
    if ranges:  # the registry sent no byte twice
        assert faulty.sent == sum(
            len(content) for name, content in small.blobs.items() if name not in small.types
        )


def test_a_connection_that_always_breaks_is_given_up(
    small: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, storage: Path
) -> None:
    def cut(asked: Asked, answer: Answer) -> Answer:
        if asked.is_blob and len(answer.body) > 1_000_000:
            answer.cut = 0
        return answer

    faulty.faults.append(cut)
    done = run_ch_image("pull", f"{faulty.host}/a", check=False)
    refused(done, "layer 2/2", "the connection broke")
    assert leftovers(storage) == []


def test_a_slow_registry_is_waited_for(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner
) -> None:
    shelf.image(shelf.layer(file("f", os.urandom(8000))), tag="a:latest")
    faulty.always(lambda answer: Answer(answer.status, answer.headers, answer.body, pause=0.02))
    run_ch_image("pull", f"{faulty.host}/a")


def test_no_length_is_no_trouble(
    small: Shelf, faulty: FaultyRegistry, run_ch_image: Runner
) -> None:
    def unsized(answer: Answer) -> Answer:
        headers = {
            name: value for name, value in answer.headers.items() if name != "Docker-Content-Digest"
        }
        return Answer(answer.status, headers, answer.body, unsized=True)

    faulty.always(unsized)
    faulty.always(unsized, blobs=False)
    run_ch_image("pull", f"{faulty.host}/a")


def test_a_login_page_is_recognised(
    small: Shelf, faulty: FaultyRegistry, run_ch_image: Runner
) -> None:
    page = Answer(200, {"Content-Type": "text/html"}, b"<html>Please log in</html>")
    faulty.always(lambda _: page, blobs=False)
    done = run_ch_image("pull", f"{faulty.host}/a", check=False)
    refused(done, "answers with a web page, not with a manifest", "proxy")


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (Answer(200, {"Content-Type": "text/html"}, b"<html>Hello</html>"), "a web page, not as a"),
        (Answer(404, {"Content-Type": "text/html"}, b"<html>?</html>"), "HTTP 404, not as a"),
        (Answer(418), "HTTP 418"),
    ],
)
def test_nothing_is_pushed_to_what_is_no_registry(
    faulty: FaultyRegistry, run_ch_image: Runner, bb: str, answer: Answer, complaint: str
) -> None:
    faulty.faults.append(lambda *_: answer)
    done = run_ch_image("push", "bb", f"{faulty.host}/x", check=False)
    refused(done, f"{faulty.host} answers with {complaint}", "hint: is that a registry")
    assert {asked.path for asked in faulty.asked} == {"/v2/"}


@pytest.mark.parametrize("content", [b"{nonsense", b"", b"[]", b'{"schemaVersion": 2}'])
def test_a_manifest_that_is_none_is_named(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, content: bytes
) -> None:
    shelf.tag("a:1", shelf.document(content, "application/vnd.oci.image.manifest.v1+json"))
    done = run_ch_image("pull", f"{faulty.host}/a:1", check=False)
    refused(done, f"error: {faulty.host}/a:1: manifest", "hint: is that a registry")


@pytest.mark.parametrize(
    ("options", "complaint", "hint"),
    [
        (
            ["-not_before", "20200101000000Z", "-not_after", "20200201000000Z"],
            "certificate has expired",
            "is this machine's clock right?",
        ),
        (
            ["-addext", "subjectAltName=DNS:other.invalid"],
            "not valid for",
            "belongs to another server",
        ),
    ],
)
def test_a_certificate_that_is_not_good_for_this(
    *,
    small: Shelf,
    run_ch_image: Runner,
    tmp_path: Path,
    options: list[str],
    complaint: str,
    hint: str,
) -> None:
    names = [] if "-addext" in options else ["-addext", "subjectAltName=IP:127.0.0.1"]
    paths = (tmp_path / "certificate", tmp_path / "key")
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    files = ["-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run([*make, *options, *names, *files], check=True, capture_output=True)
    with FaultyRegistry(small).serve(paths) as registry:
        done = run_ch_image(
            "pull", f"{registry.host}/a", env={"SSL_CERT_FILE": str(paths[0])}, check=False
        )
    refused(done, f"{registry.host}: its certificate is not trusted: ", complaint, hint)


def test_a_server_without_tls_is_told_from_a_broken_one(faulty: FaultyRegistry) -> None:
    with pytest.raises(UnreachableError, match="TLS failed") as raised:
        Urllib3Transport({}).send(Request("GET", f"https://{faulty.host}/v2/"))
    assert "insecure = true" in raised.value.hint


@pytest.mark.parametrize("scheme", ["docker://", "https://", "http://"])
def test_a_reference_is_no_url(scheme: str, run_ch_image: Runner) -> None:
    done = run_ch_image("pull", f"{scheme}localhost:1/a", check=False)
    refused(done, f"leave out '{scheme}'")


def _other(answer: Answer) -> Answer:
    body = bytearray(answer.body)
    body[len(body) // 2] ^= 1
    return Answer(answer.status, answer.headers, bytes(body))


def test_a_blob_of_another_digest_is_refused(
    small: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, storage: Path
) -> None:
    def flip(asked: Asked, answer: Answer) -> Answer:
        return _other(answer) if asked.is_blob and len(answer.body) > 1_000_000 else answer

    faulty.faults.append(flip)
    done = run_ch_image("pull", f"{faulty.host}/a", check=False)
    refused(done, "layer 2/2: ", "content has digest sha256:", "expected sha256:")
    assert leftovers(storage) == []
    faulty.faults.clear()
    run_ch_image("pull", f"{faulty.host}/a")  # the store has not kept the bad data


@pytest.mark.parametrize("by_digest", [True, False])
def test_a_manifest_of_another_digest_is_refused(
    small: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, by_digest: bool
) -> None:
    faulty.always(
        lambda answer: Answer(answer.status, answer.headers, answer.body + b" "), blobs=False
    )
    name = f"a@{small.tags['a:latest']}" if by_digest else "a"
    done = run_ch_image("pull", f"{faulty.host}/{name}", check=False)
    refused(done, "content has digest sha256:", "expected sha256:")


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_blob_of_another_size_is_refused(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, storage: Path, difference: int
) -> None:
    layer = shelf.base()
    layer.descriptor["size"] += difference
    shelf.image(layer, tag="a:latest")
    done = run_ch_image("pull", f"{faulty.host}/a", check=False)
    refused(done, "layer 1/1: ", f"the manifest says {layer.descriptor['size']}")
    assert leftovers(storage) == []


def test_what_is_not_there_is_told(faulty: FaultyRegistry, run_ch_image: Runner) -> None:
    done = run_ch_image("pull", f"{faulty.host}/nowhere:1", check=False)
    refused(done, f"not in registry: {faulty.host}/nowhere:1")


def test_a_missing_blob_is_told(
    small: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, storage: Path
) -> None:
    del small.blobs[next(name for name, blob in small.blobs.items() if len(blob) > 1_000_000)]
    done = run_ch_image("pull", f"{faulty.host}/a", check=False)
    refused(done, "layer 2/2: ", ": not in registry: blob sha256:")
    assert leftovers(storage) == []


def test_nobody_listens(run_ch_image: Runner) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
        done = run_ch_image("pull", f"{host}/a", check=False)
    refused(done, f"can't reach {host}: connection refused", "hint: are name and port right")


def test_no_such_host(run_ch_image: Runner) -> None:
    done = run_ch_image("pull", "no-such-host.invalid/a", check=False)
    refused(done, "can't reach no-such-host.invalid: no such host", "hint: ")


def test_credentials_do_not_follow_a_redirect(
    small: Shelf, run_ch_image: Runner, faulty: FaultyRegistry, no_logins: Path
) -> None:
    with FaultyRegistry(small).serve() as store:

        def redirect(asked: Asked, answer: Answer) -> Answer:
            if asked.is_blob and answer.status == 200:
                return Answer(307, {"Location": f"http://{store.host}{asked.path}"})
            return answer

        faulty.faults += [redirect, basic_login("u", "p")]
        environment = {"CH_IMAGE_USERNAME": "u", "CH_IMAGE_PASSWORD": "p"}
        run_ch_image("pull", "--auth", f"{faulty.host}/a", env=environment)
        assert len(blobs_asked(store)) == 3
        assert not any("Authorization" in asked.headers for asked in store.asked)
        assert any("Authorization" in asked.headers for asked in faulty.asked)


def test_no_redirect_leads_out_of_tls(
    small: Shelf, run_ch_image: Runner, faulty: FaultyRegistry, tls: tuple[Path, Path]
) -> None:
    def redirect(asked: Asked, answer: Answer) -> Answer:
        location = f"http://{faulty.host}{asked.path}"
        return Answer(307, {"Location": location}) if asked.is_blob else answer

    with FaultyRegistry(small).serve(tls) as secure:
        secure.faults.append(redirect)
        name = f"{secure.host}/a"
        trusting = {"SSL_CERT_FILE": str(tls[0])}
        done = run_ch_image("pull", name, env=trusting, check=False)
        refused(done, "redirected to an address without TLS", "use --tls-no-verify")
        assert faulty.asked == []
        run_ch_image("pull", "--tls-no-verify", name)


def test_redirects_in_a_circle_end(
    small: Shelf, run_ch_image: Runner, faulty: FaultyRegistry
) -> None:
    faulty.always(lambda _: Answer(307, {"Location": "/v2/a/manifests/latest"}), blobs=False)
    refused(run_ch_image("pull", f"{faulty.host}/a", check=False), "redirects")


def test_a_token_that_ends_in_the_middle_is_renewed(
    small: Shelf, run_ch_image: Runner, faulty: FaultyRegistry
) -> None:
    given: list[str] = []
    used: dict[str, int] = {}

    def token(asked: Asked, answer: Answer) -> Answer:
        if asked.path.startswith("/token"):
            given.append(f"token-{len(given)}")
            return Answer(200, {}, b'{"token": "%s"}' % given[-1].encode())
        sent = asked.headers.get("Authorization", "").removeprefix("Bearer ")
        used[sent] = used.get(sent, 0) + 1
        if sent in given and used[sent] <= 2:  # a token is valid for two requests
            return answer
        realm = f"http://{faulty.host}/token"
        return Answer(401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'})

    faulty.faults.append(token)
    run_ch_image("pull", f"{faulty.host}/a")
    assert len(given) >= 2


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer(200, {}, b"{}"), "its answer is no token"),
        (Answer(200, {}, b"<html>"), "its answer is no token"),
        (Answer(500, {"Retry-After": "0"}), "HTTP 500"),
        (Answer(401), "unauthorized or not in registry"),
    ],
)
def test_a_token_server_that_fails(
    small: Shelf, run_ch_image: Runner, faulty: FaultyRegistry, answer: Answer, fault: str
) -> None:
    def token(asked: Asked, _: Answer) -> Answer:
        if asked.path.startswith("/token"):
            return answer
        return Answer(401, {"WWW-Authenticate": f'Bearer realm="http://{faulty.host}/token"'})

    faulty.faults.append(token)
    refused(run_ch_image("pull", f"{faulty.host}/a", check=False), fault)


@pytest.mark.parametrize("challenge", ["", "Negotiate"])
def test_a_registry_that_wants_what_nobody_knows(
    small: Shelf, run_ch_image: Runner, faulty: FaultyRegistry, challenge: str
) -> None:
    headers = {"WWW-Authenticate": challenge} if challenge else {}
    faulty.always(lambda _: Answer(401, headers), blobs=False)
    refused(run_ch_image("pull", f"{faulty.host}/a", check=False), "unauthorized")


def test_a_mirror_that_fails_is_passed_over(
    small: Shelf,
    run_ch_image: Runner,
    faulty: FaultyRegistry,
    tmp_path: Path,
) -> None:
    with FaultyRegistry(Shelf()).serve() as mirror:
        (tmp_path / "registries.conf").write_text(
            f'[[registry]]\nlocation = "{faulty.host}"\n'
            f'[[registry.mirror]]\nlocation = "{mirror.host}/copies"\n'
        )
        run_ch_image("pull", f"{faulty.host}/a")
        assert [asked.path for asked in mirror.asked] == ["/v2/copies/a/manifests/latest"]
        assert run_ch_image("list").stdout == f"{faulty.host}/a\n"

        mirror.shelf = small
        mirror.shelf.tags["copies/a:1"] = faulty.shelf.tags["a:1"] = small.tags["a:latest"]
        faulty.asked.clear()
        run_ch_image("reset")
        run_ch_image("pull", f"{faulty.host}/a:1")
        assert faulty.asked == []
        assert len(blobs_asked(mirror)) == 3


def test_a_mirror_that_fails_in_the_middle_is_left_for_the_registry(
    small: Shelf, run_ch_image: Runner, faulty: FaultyRegistry, tmp_path: Path
) -> None:
    with FaultyRegistry(small).serve() as mirror:
        (tmp_path / "registries.conf").write_text(
            f'[[registry]]\nlocation = "{faulty.host}"\n'
            f'[[registry.mirror]]\nlocation = "{mirror.host}"\n'
        )

        def fail(asked: Asked, answer: Answer) -> Answer:
            if asked.is_blob and len(answer.body) > 1_000_000:
                return Answer(500, {"Retry-After": "0"})
            return answer

        mirror.faults.append(fail)
        run_ch_image("pull", f"{faulty.host}/a")
        assert len(faulty.asked) == 1


def test_a_full_disk_leaves_nothing(
    small: Shelf,
    faulty: FaultyRegistry,
    run_ch_image: Runner,
    small_tmpfs: Callable[[int, str], Path],
) -> None:
    storage = small_tmpfs(2048, "") / "storage"
    done = run_ch_image("-s", storage, "pull", f"{faulty.host}/a", check=False)
    refused(done, "no space left on tmpfs")
    assert leftovers(storage) == []
    assert run_ch_image("-s", storage, "list").stdout == ""


def test_a_manifest_beyond_all_measure_is_refused(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner
) -> None:
    shelf.tag("a:latest", shelf.document(b" " * (5 << 20), "application/json"))
    refused(run_ch_image("pull", f"{faulty.host}/a", check=False), "more than 4194304 bytes")


def test_the_layer_that_fails_ends_the_others(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner
) -> None:
    lost = shelf.layer(file("lost"))
    shelf.image(shelf.layer(file("big", BIG)), lost, tag="a:latest")
    del shelf.blobs[lost.descriptor["digest"]]
    whole = digest(shelf.blobs[next(n for n, b in shelf.blobs.items() if len(b) > 1_000_000)])

    def slow(asked: Asked, answer: Answer) -> Answer:
        if whole in asked.path:
            answer.pause = 0.05  # the whole body takes more than a minute
        return answer

    faulty.faults.append(slow)
    done = run_ch_image("pull", f"{faulty.host}/a", check=False, timeout=60)
    refused(done, "layer 2/2: ", ": not in registry")


def test_a_proxy_is_used_but_not_for_this_machine(
    small: Shelf, run_ch_image: Runner, faulty: FaultyRegistry, tmp_path: Path
) -> None:
    with FaultyRegistry(small).serve() as proxy:
        (tmp_path / "registries.conf").write_text(
            '[[registry]]\nlocation = "registry.invalid"\ninsecure = true\n'
        )
        through = {"http_proxy": f"http://u:p@{proxy.host}", "https_proxy": proxy.host}
        run_ch_image("pull", "registry.invalid/a", env=through)
        assert {asked.headers.get("proxy-authorization") for asked in proxy.asked} == {"Basic dTpw"}
        proxy.asked.clear()
        run_ch_image("pull", f"{faulty.host}/a", env=through)
        assert proxy.asked == []
        environment = through | {"no_proxy": "registry.invalid"}
        done = run_ch_image("pull", "registry.invalid/a:2", env=environment, check=False)
        refused(done, "can't reach registry.invalid: no such host")
        broken = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
        done = run_ch_image("pull", "registry.invalid/a:2", env=broken, check=False)
        refused(done, "can't reach registry.invalid through its proxy", "$https_proxy")
