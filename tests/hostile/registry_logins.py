"""Registries and token servers that want to steal a password, or give an invalid token."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from tests.hostile.case import PASSWORD, TOKEN, USER, Case, Fault
from tests.hostile.registry_documents import DEEP, ESCAPES, LONG
from tests.hostile.web import Answer, Asked, Reply, World, endlessly

if TYPE_CHECKING:
    from collections.abc import Callable

_BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_GIVEN = Reply(body=json.dumps({"token": TOKEN, "expires_in": 300}).encode())
_SITE = ("pull", "registry.site.test/a:1")
_CO_UK = ("pull", "registry.co.uk/a:1")
_PAGES = ("pull", "me.github.io/a:1")
_NAMED = """[[registry]]
prefix = "registry.site.test"
location = "registry.site.test"
token-servers = ["auth.other.test"]
"""


def token_login(realm: str, token: Callable[[Reply], Answer] = lambda right: right) -> Fault:
    """Return a fault: a client without a token is sent to ``realm`` for one."""

    def fault(world: World, asked: Asked, right: Reply) -> Answer:
        if asked.is_token:
            return token(_GIVEN)
        if asked.headers.get("authorization") == f"Bearer {TOKEN}":
            return right
        place = realm.format(registry=world.registry, other=world.other)
        challenge = f'Bearer realm="{place}",service="s",scope="repository:secret:pull,push,*"'
        return Reply(401, (("WWW-Authenticate", challenge),))

    return fault


def _realm(name: str, says: str, realm: str, **more: Any) -> Case:
    """A token server at ``realm``, and a user with a password."""
    return Case(f"realm-{name}", says, fault=token_login(realm), login=True, **more)


def _token(name: str, says: str, answer: Answer | object, **more: Any) -> Case:
    """A token server of the registry's own with this answer; JSON if it is not an ``Answer``."""
    if not isinstance(answer, Reply | bytes):
        answer = Reply(body=json.dumps(answer).encode())
    fault = token_login("http://{registry}/token", lambda _: answer)
    return Case(f"token-{name}", says, fault=fault, **more)


_NOT_HERE = "does not belong to the registry"
_NO_TLS = "no TLS"
_NONE = "names no token server"

REALMS = (
    _realm("own", "", "http://{registry}/token"),
    _realm("own-port", "", "http://{other}/token", entitled=("http://{registry}",
           "http://{other}")),
    _realm("site", "", "https://registry.site.test/token", argv=_SITE,
           entitled=("https://registry.site.test",)),
    _realm("site-beside", "", "https://auth.site.test/token", argv=_SITE,
           entitled=("https://registry.site.test", "https://auth.site.test")),
    _realm("site-above", "", "https://site.test/token", argv=_SITE,
           entitled=("https://registry.site.test", "https://site.test")),
    _realm("site-upper", "", "HTTPS://AUTH.Site.Test/token", argv=_SITE,
           entitled=("https://registry.site.test", "https://auth.site.test")),
    _realm("named", "", "https://auth.other.test/token", argv=_SITE, settings=_NAMED,
           entitled=("https://registry.site.test", "https://auth.other.test")),
    _realm("table", "", "https://api.scaleway.com/token",
           argv=("pull", "rg.fr-par.scw.cloud/a:1"),
           entitled=("https://rg.fr-par.scw.cloud", "https://api.scaleway.com")),
    _realm("hub", "", "https://auth.docker.io/token", argv=("pull", "docker.io/a:1"),
           entitled=("https://registry-1.docker.io", "https://auth.docker.io")),
    *(
        _realm(name, says, realm, argv=argv, entitled=())
        for name, says, realm, argv in (
            ("elsewhere", _NOT_HERE, "https://auth.other.test/token", _SITE),
            ("suffix-alike", _NOT_HERE, "https://evilsite.test/token", _SITE),
            ("prefix-alike", _NOT_HERE, "https://site.test.other.test/token", _SITE),
            ("co-uk", _NOT_HERE, "https://evil.co.uk/token", _CO_UK),
            ("co-uk-itself", _NOT_HERE, "https://co.uk/token", _CO_UK),
            ("pages", _NOT_HERE, "https://evil.github.io/token", _PAGES),
            ("top", _NOT_HERE, "https://test/token", ("pull", "site.test/a:1")),
            ("top-beside", _NOT_HERE, "https://evil.test/token", ("pull", "site.test/a:1")),
            ("hub-to-hubs", _NOT_HERE, "https://auth.docker.com/token", ("pull", "docker.io/a:1")),
            ("loopback", _NOT_HERE, "https://127.0.0.1:9/token", _SITE),
            ("loopback-6", _NOT_HERE, "https://[::1]:9/token", _SITE),
            ("loopback-mapped", _NOT_HERE, "https://[::ffff:127.0.0.1]:9/token", _SITE),
            ("metadata", _NOT_HERE, "https://169.254.169.254/token", _SITE),
            ("named-alike", _NOT_HERE, "https://x.auth.other.test/token", _SITE),
            ("plain", _NO_TLS, "http://registry.site.test/token", _SITE),
            ("plain-beside", _NO_TLS, "http://auth.site.test/token", _SITE),
            ("plain-loopback", _NO_TLS, "http://127.0.0.1:9/token", _SITE),
            ("plain-localhost", _NO_TLS, "http://localhost:9/token", _SITE),
            ("looks-like-127", _NO_TLS, "http://127.evil.test/token", ("pull", "{registry}/a:1")),
            ("looks-like-localhost", _NO_TLS, "http://localhost.evil.test/token",
             ("pull", "{registry}/a:1")),
            ("below-localhost", _NO_TLS, "http://evil.localhost/token", ("pull", "{registry}/a:1")),
            ("below-localhost-tls", _NOT_HERE, "https://evil.localhost/token",
             ("pull", "{registry}/a:1")),
            ("from-loopback", _NOT_HERE, "https://auth.site.test/token",
             ("pull", "{registry}/a:1")),
            ("user", _NONE, "https://registry.site.test@evil.test/token", _SITE),
            ("localhost-user", _NONE, "http://localhost@evil.test/token", _SITE),
            ("backslash", _NONE, "https://evil.test\\\\@registry.site.test/token", _SITE),
            ("unparsable", _NONE, "http://[::1/", _SITE),
            ("hexadecimal", _NONE, "http://0x7f.1/token", _SITE),
            ("short", _NONE, "https://127.1/token", _SITE),
            ("dot", _NONE, "https://registry.site.test./token", _SITE),
            ("file", _NONE, "file:///etc/passwd", _SITE),
            ("relative", _NONE, "/token", _SITE),
            ("empty", _NONE, "", _SITE),
            ("blank", _NONE, "https://registry.site.test /token", _SITE),
            ("tab", _NONE, "https://registry.si\tte.test/token", _SITE),
            ("escapes", _NONE, "https://\x1b[2J\x9b/token", _SITE),
            ("port-0", _NONE, "https://registry.site.test:0/token", _SITE),
            ("port-digits", _NONE, f"https://registry.site.test:{LONG}/token", _SITE),
            ("long", _NONE, "https://registry.site.test/" + "x" * 50_000, _SITE),
        )
    ),
    Case("realm-elsewhere-identity", _NOT_HERE, fault=token_login("https://auth.other.test/token"),
         argv=_SITE, identity=True, entitled=()),
    Case("realm-identity", "", fault=token_login("https://auth.site.test/token"), argv=_SITE,
         identity=True, entitled=("https://registry.site.test", "https://auth.site.test")),
    Case("realm-elsewhere-anonymous", "", fault=token_login("https://auth.other.test/token"),
         argv=_SITE, entitled=("https://registry.site.test",)),
    Case("realm-plain-anonymous", _NO_TLS, fault=token_login("http://auth.site.test/token"),
         argv=_SITE, entitled=()),
)  # fmt: skip


def _redirected(name: str, says: str, location: str, **more: Any) -> Case:
    """A token server that redirects to another."""

    def fault(world: World, asked: Asked, right: Reply) -> Answer:
        if asked.path.startswith("/token-elsewhere"):
            return _GIVEN
        return token_login(
            "https://auth.site.test/token", lambda _: Reply(307, (("Location", location),))
        )(world, asked, right)

    mine = ("https://registry.site.test", "https://auth.site.test")
    return Case(f"token-redirect-{name}", says, fault=fault, argv=_SITE, entitled=mine, **more)


def _life(name: str, value: bytes) -> Case:
    body = b'{"token": "%s", "expires_in": %s}' % (TOKEN.encode(), value)
    return _token(f"life-{name}", "", Reply(body=body))


TOKENS = (
    _life("400-digits", b"9" * 400),
    _life("negative", b"-300"),
    _life("zero", b"0"),
    _life("float", b"299.5"),
    _life("infinite", b"1e999"),
    _life("nan", b"NaN"),
    _life("true", b"true"),
    _life("text", b'"300"'),
    _life("text-5000-digits", b'"%s"' % LONG.encode()),
    _life("list", b"[[]]"),
    _life("null", b"null"),
    *(
        _token(name, "its answer is no token", answer)
        for name, answer in {
            "life-5000-digits": Reply(body=b'{"token": "x", "expires_in": %s}' % LONG.encode()),
            "empty": {"token": ""},
            "none": {},
            "number": {"token": 5},
            "list": {"token": [TOKEN]},
            "top-list": [TOKEN],
            "top-null": None,
            "wide": {"token": "\u2028\u20ac"},
            "latin": {"token": "caf\xe9"},
            "newline": {"token": "x\r\nX-Evil: 1"},
            "blank": {"token": "a b"},
            "escapes": {"token": ESCAPES},
            "nul": {"token": "\0"},
            "surrogate": {"token": "\ud800"},
            "deep": Reply(body=DEEP),
            "deep-object": Reply(body=b'{"a":' * 100_000),
            "page": Reply(body=b"<html>Please log in</html>"),
            "no-utf-8": Reply(body=b'{"token": "\xff"}'),
            "nothing": Reply(body=b""),
        }.items()
    ),
    _token("huge", "more than", Reply(length=-1, more=endlessly(b" ")), floods=48 << 20),
    _token("cut", "the connection broke", Reply(body=b"{", length=50)),
    _token("refused", "ch-image login", Reply(403)),
    _token("error", "HTTP 500", Reply(500), most=20),
    _token("teapot", "HTTP 418", Reply(418)),
    _token("never-good", "unauthorized", {"token": "another"}),
    _token("ends-at-once", "unauthorized", {"token": "another", "expires_in": 1}),
    _redirected("elsewhere", "", "https://auth.other.test/token-elsewhere", login=True),
    _redirected("without-tls", "without TLS", "http://auth.site.test/token-elsewhere", login=True),
    _redirected("file", "redirected to", "file:///etc/passwd", login=True),
    _redirected("of-identity", "HTTP 307", "https://auth.other.test/token-elsewhere",
                identity=True),
)  # fmt: skip


def _challenge(name: str, says: str, header: str, **more: Any) -> Case:
    def fault(world: World, asked: Asked, right: Reply) -> Answer:
        if asked.headers.get("authorization") == _BASIC:
            return right
        return Reply(401, (("WWW-Authenticate", header),))

    return Case(f"challenge-{name}", says, fault=fault, login=True, **more)


def _never(world: World, asked: Asked, right: Reply) -> Answer:
    return Reply(401, (("WWW-Authenticate", 'Basic realm="x"'),))


def _at_target(world: World, asked: Asked, right: Reply) -> Answer:
    """Redirect to another server, which wants the password."""
    if asked.server != f"http://{world.registry}":
        return Reply(401, (("WWW-Authenticate", 'Basic realm="x"'),))
    if asked.is_blob:
        return Reply(307, (("Location", f"http://{world.other}{asked.path}"),))
    if asked.headers.get("authorization") != _BASIC:
        return Reply(401, (("WWW-Authenticate", 'Basic realm="x"'),))
    return right


CHALLENGES = (
    _challenge("basic", "", 'Basic realm="x"'),
    _challenge("basic-elsewhere", "", 'Basic realm="https://evil.test/"'),
    _challenge("basic-escapes", "", 'Basic realm="\x1b[2J\x9b"'),
    _challenge("after-others", "", 'Negotiate, NTLM x, Basic realm="x"'),
    _challenge("unknown", "unsupported way to log in", "Digest realm=x, nonce=y"),
    _challenge("empty", "does not say how to log in", ""),
    _challenge("commas", "unsupported way to log in", "," * 50_000),
    _challenge("blanks", "unsupported way to log in", "x" + " " * 60_000 + "\x80"),
    _challenge("quotes", "unsupported way to log in", 'x="' * 20_000),
    _challenge("backslashes", "unsupported way to log in", 'x a="' + "\\" * 60_001),
    _challenge("thousands", "", "x, " * 10_000 + 'Basic realm="x"'),
    _challenge("no-realm", _NONE, 'Bearer service="s"'),
    Case("challenge-for-ever", "the registry rejects user", fault=_never, login=True),
    Case("challenge-at-target", "unauthorized", fault=_at_target, login=True),
)

_LOGIN = ("login", "-u", USER, "--password-stdin", "{registry}")
_SITE_LOGIN = (*_LOGIN[:-1], "registry.site.test")


def _login(name: str, says: str, fault: Fault, **more: Any) -> Case:
    return Case(f"login-{name}", says, fault=fault, **({"argv": _LOGIN} | more))


LOGINS = (
    _login("refused", "the registry rejects user", _never),
    _login("elsewhere", _NOT_HERE, token_login("https://evil.test/token"), argv=_SITE_LOGIN,
           entitled=()),
    _login("plain", _NO_TLS, token_login("http://registry.site.test/token"), argv=_SITE_LOGIN,
           entitled=()),
    _login("unparsable", _NONE, token_login("http://[::1/"), argv=_SITE_LOGIN, entitled=()),
    _login("own", "", token_login("https://auth.site.test/token"), argv=_SITE_LOGIN,
           entitled=("https://registry.site.test", "https://auth.site.test")),
    _login("page", "a web page", lambda *_: Reply(200, (("Content-Type", "text/html"),))),
    _login("redirected", "unauthorized", lambda world, asked, _: Reply(
        307, (("Location", f"http://{world.other}/"),))
        if asked.server == f"http://{world.registry}"
        else Reply(401, (("WWW-Authenticate", 'Basic realm="x"'),))),
    _login("redirected-to-file", "redirected to", lambda *_: Reply(
        302, (("Location", "file:///etc/passwd"),))),
    _login("error", "HTTP 500", lambda *_: Reply(500, body=DEEP), most=20),
    _login("garbage", "the connection broke", lambda *_: b"\xff\x00\r\n\r\n", most=20),
    _login("token-wide", "no token", token_login(
        "http://{registry}/token", lambda _: Reply(body=b'{"token": "\\u20ac"}'))),
)  # fmt: skip

CASES = (*REALMS, *TOKENS, *CHALLENGES, *LOGINS)
