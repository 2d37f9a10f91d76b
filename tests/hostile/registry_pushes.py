"""Registries that lie to a push."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.hostile.case import Case, Fault
from tests.hostile.registry_documents import DEEP, ESCAPES, LONG, ZEROS
from tests.hostile.web import Answer, Asked, Reply, World, endlessly

if TYPE_CHECKING:
    from collections.abc import Callable

PUSH = ("push", "pushed", "{registry}/b:1")
CHUNK = 100  # bytes; the layer has a few hundred


def _push(name: str, says: str, fault: Fault, **more: Any) -> Case:
    settings: dict[str, Any] = {"argv": PUSH, "most": 40} | more
    return Case(f"push-{name}", says, fault=fault, **settings)


def on(*methods: str, uploads: bool = True) -> Callable[[Callable[[Reply], Answer]], Fault]:
    """Return a function that makes a fault in answers to these methods of uploads or manifests."""

    def make(answer: Callable[[Reply], Answer]) -> Fault:
        def fault(world: World, asked: Asked, right: Reply) -> Answer:
            concerned = ("/uploads/" if uploads else "/manifests/") in asked.path
            return answer(right) if concerned and asked.method in methods else right

        return fault

    return make


def _location(name: str, says: str, location: str, **more: Any) -> Case:
    """Redirect an upload to that place."""

    def fault(world: World, asked: Asked, right: Reply) -> Answer:
        if asked.method != "POST":
            return right
        return right.but(Location=location.format(registry=world.registry, other=world.other))

    return _push(f"location-{name}", says, fault, login=True, **more)


def _range(name: str, says: str, value: str, **more: Any) -> Case:
    """Report this number of received bytes."""
    return _push(
        f"range-{name}", says, on("PATCH")(lambda right: right.but(Range=value)), chunk=CHUNK,
        **more,
    )  # fmt: skip


def _few_bytes(world: World, asked: Asked, right: Reply) -> Answer:
    if asked.method != "PATCH":
        return right
    return right.but(Range=f"0-{sum(one.method == 'PATCH' for one in world.asked)}")


def _too_much(world: World, asked: Asked, right: Reply) -> Answer:
    """Refuse a chunk because it does not fit; then say that nothing has arrived."""
    if asked.method == "PATCH":
        return right.but(416)
    return right.but(Range="0-0") if asked.method == "GET" else right


def _forgetful(world: World, asked: Asked, right: Reply) -> Answer:
    return Reply(404) if asked.method in ("PATCH", "GET") and "/uploads/" in asked.path else right


def _half(world: World, asked: Asked, right: Reply) -> Answer:
    """Take a chunk, fail, and then have nothing of it: the push would never end."""
    if asked.method == "GET" and "/uploads/" in asked.path:
        return right.but(Range="0-0")
    if asked.method != "PATCH":
        return right
    chunks = sum(one.method == "PATCH" for one in world.asked)
    return Reply(500) if chunks % 2 == 0 else right.but(Range=f"0-{CHUNK - 1}")


_said = json.dumps({"errors": [{"message": ESCAPES}]}).encode()

CASES = (
    _push("right", "", lambda _world, _asked, right: right),
    _push("right-in-chunks", "", lambda _world, _asked, right: right, chunk=CHUNK),
    _push("page", "a web page", lambda *_: Reply(200, (("Content-Type", "text/html"),))),
    _push("nothing", "HTTP 404", lambda *_: Reply(404)),
    _push("head-error", "HTTP 500", lambda _w, asked, right: Reply(500)
          if asked.method == "HEAD" else right),
    _push("head-lies", "", lambda _w, asked, right: Reply(200)
          if asked.method == "HEAD" else right),
    _push("head-redirect-file", "redirected to", lambda _w, asked, right: Reply(
        307, (("Location", "file:///etc/passwd"),)) if asked.method == "HEAD" else right),
    _push("post-error-escapes", "HTTP 400", on("POST")(lambda _: Reply(400, body=_said))),
    _push("post-error-deep", "HTTP 400", on("POST")(lambda _: Reply(400, body=DEEP))),
    _push("post-error-endless", "HTTP 400", on("POST")(
        lambda _: Reply(400, length=-1, more=endlessly(b"x"))), floods=32 << 20),
    _push("post-forbidden", "not allowed by", on("POST")(lambda _: Reply(403, body=_said))),
    _push("post-created", "HTTP 201", on("POST")(lambda right: right.but(201))),
    _push("post-redirect", "HTTP 307", on("POST")(lambda right: right.but(307))),
    _push("post-unauthorized", "unauthorized", on("POST")(lambda _: Reply(401))),
    _push("post-unauthorized-for-ever", "rejects user", on("POST")(lambda _: Reply(
        401, (("WWW-Authenticate", "Basic realm=x"),))), login=True),
    _location("none", "does not say where to go on", ""),
    _location("other", "", "http://{other}/v2/b/blobs/uploads/7", entitled=()),
    _location("other-relative", "", "//{other}/v2/b/blobs/uploads/7", entitled=()),
    _location("query", "", "/v2/b/blobs/uploads/7?a=b&digest=x#y"),
    _location("not-ascii", "", "/v2/b/blobs/uploads/7?a=\xc3\xa4"),
    *(
        _location(name, "the registry says to go on at", location)
        for name, location in {
            "file": "file:///etc/passwd",
            "ftp": "ftp://{other}/",
            "unix": "unix:///run/x.sock",
            "unparsable": "http://[::1/",
            "user": "http://{registry}@{other}/x",
            "user-password": "http://u:p@{registry}/x",
            "backslash": "http://{other}\\@{registry}/x",
            "port-0": "http://127.0.0.1:0/",
            "port-digits": f"http://127.0.0.1:{LONG}/",
            "hexadecimal": "http://0x7f.1/",
            "long": f"/{'x' * 50_000}",
            "escapes": "http://\x1b[2J\x9b/",
        }.items()
    ),
    _location("down", "address without TLS", "http://{other}/v2/b/blobs/uploads/7",
              argv=("push", "pushed", "registry.site.test/b:1"), entitled=()),
    _location("port", "", "https://registry.site.test:8443/v2/b/blobs/uploads/7",
              argv=("push", "pushed", "registry.site.test/b:1"), entitled=()),
    _range("exabytes", "the registry says that it has", "0-999999999999999"),
    _range("digits", "impossibly much of an upload", f"0-{LONG}"),
    _range("nothing", "takes no bytes", "0-0"),
    _range("backwards", "", "9-5"),
    _range("text", "", "abc"),
    _range("negative", "", "0--5"),
    _range("superscript", "", "0-\xb2"),
    _range("missing", "", ""),
    _push("few-bytes", "takes too little at a time", _few_bytes, chunk=CHUNK, most=60),
    _push("never-fits", "takes too little at a time", _too_much, chunk=CHUNK, most=60),
    _push("forgets", "not in registry", _forgetful, chunk=CHUNK, most=60),
    _push("halves", "HTTP 500", _half, chunk=CHUNK, most=200),
    _push("patch-cut", "", on("PATCH")(lambda _: b""), chunk=CHUNK, most=100),
    _push("patch-silent", "", on("PATCH")(lambda _: None), chunk=CHUNK, most=100,
          seconds=0.2),
    _push("patch-no-location", "does not say where to go on",
          on("PATCH")(lambda right: right.but(Location="")), chunk=CHUNK),
    _push("patch-location-file", "the registry says to go on at",
          on("PATCH")(lambda right: right.but(Location="file:///x")), chunk=CHUNK),
    _push("patch-created", "HTTP 201", on("PATCH")(lambda right: right.but(201)), chunk=CHUNK),
    _push("put-error-escapes", "HTTP 400", on("PUT")(lambda _: Reply(400, body=_said))),
    _push("put-accepted", "HTTP 202", on("PUT")(lambda right: right.but(202))),
    _push("put-redirect", "HTTP 308", on("PUT")(lambda right: right.but(308))),
    _push("put-no-location", "", on("PUT")(lambda _: Reply(201))),
    _push("put-digest-lies", "", on("PUT")(lambda right: right.but(Docker_Content_Digest=ZEROS))),
    _push("put-unauthorized", "rejects user", on("PUT")(lambda _: Reply(
        401, (("WWW-Authenticate", "Basic realm=x"),))), login=True),
    _push("put-500", "HTTP 500", on("PUT")(lambda _: Reply(500)), most=100),
    _push("put-too-large", "HTTP 413", on("PUT")(lambda _: Reply(413))),
    _push("manifest-digest-other", "the registry made", on("PUT", uploads=False)(
        lambda right: right.but(Docker_Content_Digest=ZEROS))),
    _push("manifest-digest-escapes", "the registry made", on("PUT", uploads=False)(
        lambda right: right.but(Docker_Content_Digest="\x1b[2J\x9b"))),
    _push("manifest-digest-none", "", on("PUT", uploads=False)(lambda _: Reply(201))),
    _push("manifest-refused", "HTTP 400", on("PUT", uploads=False)(
        lambda _: Reply(400, body=_said))),
    _push("manifest-gone", "not in registry", on("PUT", uploads=False)(lambda _: Reply(404))),
    _push("manifest-redirect", "HTTP 307", on("PUT", uploads=False)(lambda _: Reply(
        307, (("Location", "http://127.0.0.1:9/"),)))),
    _push("manifest-rate-limit", "rate limit", on("PUT", uploads=False)(lambda _: Reply(
        429, (("Retry-After", LONG), ("RateLimit-Limit", LONG), ("RateLimit-Remaining", LONG))))),
    _push("manifest-cut", "the connection broke", on("PUT", uploads=False)(lambda _: b""),
          most=100),
)  # fmt: skip


def _mount(name: str, answer: Callable[[Reply], Answer], **more: Any) -> Case:
    """Lie about a blob that another repository of the registry is said to have."""

    def fault(world: World, asked: Asked, right: Reply) -> Answer:
        return answer(right) if "mount=" in asked.path else right

    argv = ("push", "{registry}/a:1", "{registry}/b:1")
    return Case(f"mount-{name}", "", fault=fault, argv=argv, **{"most": 40, **more})


CASES += (
    _mount("right", lambda right: right),
    _mount("done", lambda _: Reply(201)),
    _mount("no-location", lambda right: right.but(Location="")),
    _mount("location-file", lambda right: right.but(Location="file:///etc/passwd")),
    _mount("location-unparsable", lambda right: right.but(Location="http://[::1/")),
    _mount("error", lambda _: Reply(400, body=DEEP)),
    _mount("error-500", lambda _: Reply(500), most=60),
    _mount("cut", lambda _: b"", most=60),
    _mount("unauthorized", lambda _: Reply(401)),
)
