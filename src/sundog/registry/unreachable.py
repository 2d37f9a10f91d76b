"""Why no answer came from a server, in words for the user."""

from __future__ import annotations

from sundog.errors import UnreachableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

_PROXY_HINT = "see $https_proxy, $http_proxy, $no_proxy"
_CERTIFICATE_HINT = (
    "name the file of its certificate authority in $SSL_CERT_FILE or put it into "
    "~/.config/containers/certs.d/HOST:PORT/ca.crt; or use --tls-no-verify"
)


def unknown_host(host: str) -> UnreachableError:
    """Return the error for a name that has no address."""
    return UnreachableError(
        f"can't reach {host}: no such host",
        "is the name right, and does this machine reach the network?",
        unconnected=True,
    )


def unconnected(host: str, error: OSError) -> UnreachableError:
    """Return the error for a server to which no connection could be made."""
    if isinstance(error, TimeoutError):
        return UnreachableError(
            f"can't reach {host}: no answer in time",
            "is a proxy needed ($https_proxy)? Compute nodes often have no route outside",
            unconnected=True,
        )
    return UnreachableError(
        f"can't reach {host}: {reason(error)}",
        "are name and port right, and is it running?",
        unconnected=True,
    )


def bad_proxy(shown: str) -> UnreachableError:
    """Return the error for a proxy that can't be used; ``shown`` has no password in it."""
    return UnreachableError(f"can't use the proxy {shown}", _PROXY_HINT, permanent=True)


def refused_by_proxy(host: str, why: str) -> UnreachableError:
    """Return the error for a proxy that leads nowhere."""
    return UnreachableError(f"can't reach {host} through its proxy: {why}", _PROXY_HINT)


def broken(host: str, error: Exception) -> UnreachableError:
    """Return the error for a connection that did not last."""
    if isinstance(error, TimeoutError):
        return UnreachableError(f"{host}: fell silent in the middle of an answer")
    return UnreachableError(f"{host}: the connection broke: {reason(error)}")


def without_tls(host: str, error: ssl.SSLError) -> UnreachableError:
    """Return the error for a server with which no TLS connection could be had."""
    text = reason(error)
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        why = text.partition("certificate verify failed: ")[2] or text
        return UnreachableError(
            f"{host}: its certificate is not trusted: {why}",
            _certificate_hint(why),
            permanent=True,
        )
    return UnreachableError(
        f"{host}: TLS failed: {text}",
        _tls_hint(text),
        permanent=True,
        plaintext="alert" not in text,
    )


def reason(error: Exception) -> str:
    """Return what an error says, in one line."""
    text = str(error.args[-1]) if error.args else ""
    if text.startswith("["):  # OpenSSL's: "[SSL: X] certificate verify failed: … (_ssl.c:1000)"
        return text.partition("] ")[2].partition(" (_ssl")[0] or text
    return (text.splitlines() or [type(error).__name__])[0].partition(" (_ssl")[0].lower()


def _certificate_hint(why: str) -> str:
    """Return what to do about a certificate that is not trusted, in OpenSSL's words."""
    if "expired" in why or "not yet valid" in why:
        return "is this machine's clock right? If it is, the registry's owner has to renew it"
    if "mismatch" in why or "not valid for" in why:
        return "it is another server's: is the name right? --tls-no-verify believes anybody"
    return _CERTIFICATE_HINT


def _tls_hint(text: str) -> str:
    """Return what to do about a greeting that failed, in OpenSSL's words."""
    if "wrong version number" in text or "record layer failure" in text:
        return (
            "does it speak HTTP without TLS? insecure = true for it in registries.conf allows that"
        )
    if "certificate" in text and "alert" in text:
        return (
            "the registry wants a certificate of yours, or another one: "
            "~/.config/containers/certs.d/HOST:PORT/client.cert and client.key"
        )
    return ""
