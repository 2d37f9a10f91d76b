"""Answers to a pull that no honest server gives: statuses, header fields, bodies, redirects."""

from __future__ import annotations

import gzip
import json
import threading
from typing import TYPE_CHECKING, Any

from tests.hostile.case import Case, on_blob, on_manifest
from tests.hostile.registry_documents import DEEP, ESCAPES, LONG, ZEROS
from tests.hostile.web import Answer, Asked, Reply, World, endlessly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RETRIED = 20


def _status(status: int, says: str, body: bytes = b"", name: str = "", **headers: str) -> Case:
    reply = Reply(status, tuple((key.replace("_", "-"), headers[key]) for key in headers), body)
    return Case(f"status-{status}{name}", says, fault=on_manifest(lambda _: reply))


def _raw(name: str, says: str, answer: Answer, **more: Any) -> Case:
    return Case(f"raw-{name}", says, fault=on_manifest(lambda _: answer), **more)


def _header(name: str, says: str, field: str, value: str, **more: Any) -> Case:
    """Set a header field of an answer that is right otherwise."""
    return Case(
        f"header-{name}",
        says,
        fault=on_manifest(lambda right: right.but(None, None, **{field: value})),
        **more,
    )


def _body(name: str, says: str, answer: Callable[[Reply], Answer], **more: Any) -> Case:
    return Case(f"blob-{name}", says, fault=on_blob(answer), **more)


def _said(body: bytes) -> bytes:
    return b'{"errors": %s}' % body


STATUSES = (
    _status(201, "HTTP 201"),
    _status(204, "HTTP 204"),
    _status(206, "HTTP 206", b"{}"),
    _status(300, "HTTP 300", Location="/elsewhere"),
    _status(301, "HTTP 301"),
    _status(304, "HTTP 304"),
    _status(400, "HTTP 400: bad name", _said(b'[{"message": "bad name"}]')),
    _status(400, "HTTP 400", DEEP, "-deep"),
    _status(400, "HTTP 400", _said(b"7"), "-errors-number"),
    _status(400, "HTTP 400", _said(b'[{"message": {"a": []}}]'), "-message-object"),
    _status(400, "HTTP 400", _said(json.dumps([{"message": ESCAPES}]).encode()), "-escapes"),
    _status(400, "HTTP 400", _said(rb'[{"message": "\ud800"}]'), "-surrogate"),
    _status(400, "HTTP 400", _said(b'[{"message": "%s"}]' % (b"x" * 50_000)), "-long"),
    _status(400, "HTTP 400", b"\xff\xfe" * 50, "-no-text"),
    _status(401, "unauthorized"),
    _status(401, "unauthorized", b"", "-odd", WWW_Authenticate='"""=,=, ,'),
    _status(401, "unauthorized", b"", "-spaces", WWW_Authenticate="x" + " " * 60_000 + "\x80"),
    _status(401, "unauthorized", b"", "-negotiate", WWW_Authenticate="Negotiate"),
    _status(402, "HTTP 402"),
    _status(403, "not allowed by", _said(json.dumps([{"message": ESCAPES}]).encode())),
    _status(404, "not in registry"),
    _status(405, "HTTP 405"),
    _status(407, "HTTP 407", Proxy_Authenticate='Basic realm="proxy"'),
    _status(408, "HTTP 408"),
    _status(410, "HTTP 410"),
    _status(416, "HTTP 416"),
    _status(418, "HTTP 418"),
    _status(429, "rate limit", b"", "", Retry_After="0"),
    _status(429, "rate limit", b"", "-5000-digits", Retry_After=LONG),
    _status(429, "rate limit", b"", "-negative", Retry_After="-1"),
    _status(429, "rate limit", b"", "-nan", Retry_After="nan"),
    _status(429, "rate limit", b"", "-year-1", Retry_After="Mon, 01 Jan 0001 00:00:00 +2359"),
    _status(429, "rate limit", b"", "-year-9999", Retry_After="Fri, 31 Dec 9999 23:59:59 -2359"),
    _status(429, "rate limit", b"", "-year-long", Retry_After=f"Fri, 31 Dec {LONG} 23:59:59 GMT"),
    _status(429, "rate limit", b"", "-zone", Retry_After="Fri, 31 Dec 2026 23:59:59 +" + "9" * 99),
    _status(429, "rate limit", b"", "-digits", Retry_After="\xb2\xb3"),
    _status(429, "rate limit", b"", "-limits", RateLimit_Limit=LONG, RateLimit_Remaining=LONG),
    _status(500, "HTTP 500", b"<html>"),
    _status(503, "HTTP 503", b"", "-never", Retry_After=LONG),
    _status(599, "HTTP 599"),
    _status(999, "HTTP 999"),
)


def _silence() -> Iterator[bytes]:
    """Send one byte, and nothing for a while."""
    yield b"x"
    threading.Event().wait(2)
    yield b""


_OK = b"HTTP/1.1 200 OK\r\n"
RAW = (
    _raw("nothing", "the connection broke", b"", most=RETRIED),
    _raw("garbage", "the connection broke", b"\xff\x00" * 500, most=RETRIED),
    _raw("no-http", "the connection broke", b"SSH-2.0-OpenSSH_9.9\r\n", most=RETRIED),
    _raw("status-text", "the connection broke", b"HTTP/1.1 abc OK\r\n\r\n", most=RETRIED),
    _raw("status-5000", "the connection broke", b"HTTP/1.1 5000 OK\r\n\r\n", most=RETRIED),
    _raw("status-digits", "the connection broke", b"HTTP/1.1 %s OK\r\n\r\n" % LONG.encode(),
         most=RETRIED),
    _raw("status-negative", "the connection broke", b"HTTP/1.1 -200 OK\r\n\r\n", most=RETRIED),
    _raw("version-9", "the connection broke", b"HTTP/9.9 200 OK\r\n\r\n", most=RETRIED),
    _raw("line-endless", "the connection broke",
         Reply(length=-1, headers=(("A", "b" * 70_000),)), most=RETRIED, floods=4 << 20),
    _raw("fields-500", "the connection broke",
         Reply(headers=tuple((f"A{n}", "b") for n in range(500))), most=RETRIED),
    _raw("field-without-colon", "manifest", _OK + b"nonsense\r\n\r\n{}"),
    _raw("field-nul", "manifest", _OK + b"A: \0\x1b[2J\r\nContent-Length: 2\r\n\r\n{}"),
    _raw("field-folded", "manifest", _OK + b"A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}"),
    _raw("field-first-folded", "manifest", _OK + b" c\r\nContent-Length: 2\r\n\r\n{}"),
    _raw("cut-in-fields", "manifest", _OK + b"Content-Le", most=RETRIED),
    _raw("switching", "HTTP 101", b"HTTP/1.1 101 X\r\nUpgrade: h2c\r\n\r\n"),
    _raw("continue-first", "manifest", b"HTTP/1.1 100 C\r\n\r\n" + _OK + b"\r\n{}"),
    _raw("length-negative", "manifest", _OK + b"Content-Length: -5\r\n\r\n{}"),
    _raw("length-digits", "manifest", _OK + b"Content-Length: %s\r\n\r\n{}" % LONG.encode()),
    _raw("length-text", "manifest", _OK + b"Content-Length: two\r\n\r\n{}"),
    _raw("length-twice", "the connection broke",
         _OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", most=RETRIED),
    _raw("length-less", "not JSON", _OK + b"Content-Length: 1\r\n\r\n{}"),
    _raw("length-more", "the connection broke", _OK + b"Content-Length: 9\r\n\r\n{}", most=RETRIED),
    _raw("chunk-text", "the connection broke",
         _OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", most=RETRIED),
    _raw("chunk-negative", "the connection broke",
         _OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n", most=RETRIED),
    _raw("chunk-all", "the connection broke",
         Reply(headers=(("Transfer-Encoding", "chunked"),), body=b"-1\r\n", more=endlessly(b" ")),
         most=RETRIED, floods=32 << 20),
    _raw("chunk-underscore", "the connection broke",
         _OK + b"Transfer-Encoding: chunked\r\n\r\n0x_2\r\n{}\r\n", most=RETRIED),
    _raw("trailers-endless", "the connection broke",
         Reply(headers=(("Transfer-Encoding", "chunked"),), body=b"2\r\n{}\r\n0\r\n",
               more=endlessly(b"a: b\r\n")), most=RETRIED, floods=32 << 20),
    _raw("interim-endless", "the connection broke",
         b"HTTP/1.1 100 C\r\n\r\n" * 200_000,
         most=RETRIED, floods=32 << 20),
    _raw("chunk-exabytes", "the connection broke",
         _OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffff\r\n{}\r\n", most=RETRIED),
    _raw("chunk-line-endless", "the connection broke",
         Reply(headers=(("Transfer-Encoding", "chunked"),), more=endlessly(b"1")), most=RETRIED,
         floods=16 << 20),
    _raw("chunks-cut", "the connection broke",
         _OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}", most=RETRIED),
    _raw("encoding-unknown", "manifest", _OK + b"Transfer-Encoding: x\r\n\r\n{}"),
    _raw("body-endless", "more than 4194304 bytes", Reply(length=-1, more=endlessly(b" ")),
         floods=32 << 20),
    _raw("body-of-chunks-endless", "more than 4194304 bytes",
         Reply(headers=(("Transfer-Encoding", "chunked"),),
               more=endlessly(b"400\r\n%s\r\n" % bytes(1024))),
         floods=48 << 20),
    _raw("silent", "stopped in the middle", None, seconds=0.2, most=RETRIED),
    _raw("silent-in-body", "stopped in the middle", Reply(length=50, more=_silence()), seconds=0.2),
)  # fmt: skip


_ZEROS = gzip.compress(bytes(8 << 20))


def _bomb(right: Reply) -> Reply:
    return right.but(body=_ZEROS, Content_Encoding="gzip")


HEADERS = (
    _header("digest-junk", "Docker-Content-Digest", "Docker_Content_Digest", "junk"),
    _header("digest-empty", "", "Docker_Content_Digest", ""),
    _header("digest-other", "content has digest", "Docker_Content_Digest", ZEROS),
    _header("digest-path", "Docker-Content-Digest", "Docker_Content_Digest", "sha256:../../x"),
    _header("digest-long", "Docker-Content-Digest", "Docker_Content_Digest", "x" * 60_000),
    _header("digest-escapes", "Docker-Content-Digest", "Docker_Content_Digest", "\x1b[2J\x9b31m"),
    _header("type-page", "a web page", "Content_Type", "Text/HTML; x"),
    _header("type-none", "", "Content_Type", ""),
    _header("type-escapes", "", "Content_Type", "\x1b[2J\x9b31m"),
    _header("type-long", "", "Content_Type", "x/" + "y" * 60_000),
    _header("limits-digits", "", "RateLimit_Limit", f"{LONG};w={LONG}"),
    _header("limits-superscript", "", "RateLimit_Limit", "\xb2;w=\xb3"),
    _header("cookie", "", "Set_Cookie", f"a={'b' * 3000}; Domain=127.0.0.1"),
    _header("link-endless", "", "Link", '</v2/a/manifests/1?n=1>; rel="next"'),
    _header("refresh", "", "Refresh", "0; url=http://127.0.0.1:9/"),
    Case("header-encoding-bomb", "content has digest", fault=on_manifest(_bomb)),
    Case(
        "header-limits-both",
        "",
        fault=on_manifest(
            lambda right: right.but(
                RateLimit_Limit="100;w=0", RateLimit_Remaining=LONG, docker_ratelimit_source="\x1b"
            )
        ),
    ),
)


def _trickle(world: World, asked: Asked, right: Reply) -> Answer:
    """Send one more byte of a blob with each request, and break off."""
    if not asked.is_blob or len(right.body) == 0 or "range" not in asked.headers:
        return _cut(right, 1) if asked.is_blob and b"layer" not in right.body else right
    start = int(asked.headers["range"].removeprefix("bytes=").rstrip("-"))
    part = right.body[start : start + 1]
    fields = (("Content-Range", f"bytes {start}-{len(right.body) - 1}/{len(right.body)}"),)
    return Reply(206, fields, part, length=len(right.body) - start)


def _cut(right: Reply, size: int) -> Reply:
    return Reply(right.status, right.headers, right.body[:size], length=len(right.body))


def _range(name: str, says: str, status: int, value: str, **more: Any) -> Case:
    """Break off in the layer, and give this answer when the client asks for the rest."""

    def fault(world: World, asked: Asked, right: Reply) -> Answer:
        if not asked.is_blob or b'"rootfs"' in right.body:
            return right
        if "range" not in asked.headers:
            return _cut(right, 20)
        return Reply(status, (("Content-Range", value),), right.body[20:])

    return Case(f"range-{name}", says, fault=fault, most=RETRIED, **more)


BLOBS = (
    _body("missing", "not in registry", lambda _: Reply(404)),
    _body("empty", "0 bytes", lambda right: right.but(body=b"")),
    _body("page", "bytes", lambda right: right.but(body=b"<html>" * 1000)),
    _body("other", "bytes", lambda right: right.but(body=right.body + b"x")),
    _body("flipped", "content has digest",
          lambda right: right.but(body=right.body[:-1] + b"\x7f")),
    _body("endless", "bytes", lambda _: Reply(length=-1, more=endlessly(b"x")), floods=32 << 20),
    _body("bomb", "bytes", _bomb),
    _body("unasked-range", "HTTP 206", lambda right: right.but(206)),
    _body("cut-at-once", "the connection broke", lambda right: _cut(right, 0), most=RETRIED),
    _body("nothing", "the connection broke", lambda _: b"", most=RETRIED),
    _body("silent", "stopped in the middle", lambda _: None, seconds=0.2, most=RETRIED),
    _body("error-endless", "HTTP 400", lambda _: Reply(400, length=-1, more=endlessly(b"x")),
          floods=32 << 20),
    Case("blob-trickles", "the connection broke", fault=_trickle, most=40),
    _range("right", "", 206, "bytes 20-"),
    _range("none", "not from 20 on", 206, ""),
    _range("other-start", "not from 20 on", 206, "bytes 0-5/6"),
    _range("text", "not from 20 on", 206, "bytes abc"),
    _range("digits", "not from 20 on", 206, f"bytes {LONG}-{LONG}/{LONG}"),
    _range("escapes", "not from 20 on", 206, "\x1b[2J"),
    _range("refused", "has no more than 20", 416, "bytes */20"),
    _range("whole", "has 166 bytes", 200, ""),
    _range("gone", "not in registry", 404, ""),
)  # fmt: skip


def _redirect(name: str, says: str, location: str, **more: Any) -> Case:
    """Redirect each request for a manifest."""

    def fault(world: World, asked: Asked, right: Reply) -> Answer:
        if not asked.is_manifest or asked.server != f"http://{world.registry}":
            return right
        place = location.format(registry=world.registry, other=world.other, path=asked.path)
        return Reply(307, (("Location", place),))

    return Case(f"redirect-{name}", says, fault=fault, **more)


def _new_places(world: World, asked: Asked, right: Reply) -> Answer:
    return Reply(302, (("Location", f"/v2/a/manifests/{len(world.asked)}"),))


REDIRECTS = (
    _redirect("circle", "more than 5 redirects", "{path}"),
    Case("redirect-endless", "more than 5 redirects", fault=_new_places),
    _redirect("other", "", "http://{other}{path}", login=True),
    _redirect("other-relative", "", "//{other}{path}", login=True),
    _redirect("no-host", "not in registry", "http:///x"),
    _redirect("empty", "HTTP 307", ""),
    _redirect("fragment", "more than 5 redirects", "{path}#x"),
    *(
        _redirect(name, "redirected to", location, login=True)
        for name, location in {
            "file": "file:///etc/passwd",
            "ftp": "ftp://{other}/x",
            "unix": "unix:///run/x.sock",
            "data": "data:application/json,{{}}",
            "javascript": "javascript:x",
            "unparsable": "http://[::1/",
            "port-0": "http://127.0.0.1:0/",
            "port-99999": "http://127.0.0.1:99999/",
            "port-digits": f"http://127.0.0.1:{LONG}/",
            "port-text": "http://127.0.0.1:http/",
            "user": "http://{registry}@{other}/x",
            "user-and-password": "http://u:p@{registry}{path}",
            "backslash": "http://{other}\\@{registry}/x",
            "hexadecimal": "http://0x7f.0.0.1/",
            "short": "http://127.1/",
            "decimal": "http://2130706433/",
            "octal": "http://0177.0.0.1/",
            "dot": "http://localhost./",
            "dots": "http://a..b/",
            "zone": "http://[::1%25lo]/",
            "percent": "http://%31%32%37.0.0.1/",
            "not-ascii": "http://\xb2127.0.0.1/",
            "blank": "http://127.0.0.1 .test/",
            "long-label": f"http://{'a' * 64}.test/",
            "long-host": f"http://{'a.' * 200}test/",
            "long": f"http://{{other}}/{'x' * 30_000}",
        }.items()
    ),
)

CASES = (*STATUSES, *RAW, *HEADERS, *BLOBS, *REDIRECTS)
