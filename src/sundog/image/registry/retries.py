"""Asking again: which failures may pass, and how long the registry wants to be left alone.

Specification: RFC 9110, §10.2.3 (Retry-After) and §9.2.2 (which methods may be repeated); the
IETF's draft on RateLimit header fields, as Docker Hub writes them.
"""

from __future__ import annotations

import math
import re
import time

from sundog.errors import RateLimitError, UnreachableError
from sundog.image.registry.address import host_of
from sundog.image.transfer.backoff import ATTEMPTS, Backoff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sundog.image.registry.http import Request, Response, Transport

_RECONNECTS = 1  # if no server answers at all
_PAUSE_LIMIT = 60.0
_TOLD_PAUSE_LIMIT = 1e9  # seconds: a longer pause is as good as for ever
_TOO_MANY = 429
_TRANSIENT = frozenset((408, 425, _TOO_MANY, 500, 502, 503, 504))
_REPEATABLE = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS"))


class RetryingTransport:
    """Sends through ``transport``; after a passing failure it waits and sends again.

    It does not repeat a request whose body is a file, because the file has been read.  Raises
    RateLimitError when the registry wants a longer pause than a user would wait for.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], None] = time.sleep,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._transport = transport
        self._attempts = attempts
        self._sleep = sleep
        self._tell = tell

    def send(self, request: Request) -> Response:
        """Return the answer to the last attempt; raise UnreachableError if none comes."""
        has_body = isinstance(request.body, bytes | None)
        repeatable = request.method in _REPEATABLE and has_body
        backoff = Backoff(self._attempts)
        while True:
            asked = None
            try:
                response = self._transport.send(request)
            except UnreachableError as error:
                hopeless = error.unconnected and backoff.failures >= _RECONNECTS
                if backoff.fail() or hopeless or error.permanent or not repeatable:
                    raise
                why = error.message
            else:
                if response.status not in _TRANSIENT:
                    return response
                asked = retry_after(response.headers)
                is_limit = response.status == _TOO_MANY  # the server has not processed the request
                again = (has_body if is_limit else repeatable) and (asked or 0) <= _PAUSE_LIMIT
                ends = backoff.fail() or not again
                if ends and not is_limit:
                    return response
                response.close()
                if ends:
                    raise rate_limited(host_of(response.url), response.headers)
                why = f"{host_of(request.url)}: HTTP {response.status}"
            pause = backoff.pause() if asked is None else asked
            self._tell(f"{why}; again in {pause:.1f} s ({backoff.failures} of {backoff.attempts})")
            self._sleep(pause)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds the server wants to be left alone; None if it does not say."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _TOLD_PAUSE_LIMIT)
    if not text:
        return None
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        when = parsedate_to_datetime(text)
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return max(0.0, (when - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def rate_limit(headers: Mapping[str, str]) -> str:
    """Return in words how many pulls are left; "" if the registry does not say.

    Docker Hub writes ``ratelimit-limit: 100;w=21600`` and ``ratelimit-remaining: 76;w=21600``.
    """
    limit = _quota(headers.get("RateLimit-Limit", ""))
    left = _quota(headers.get("RateLimit-Remaining", ""))
    if limit is None or left is None:
        return ""
    total, window = limit
    text = f"{left[0]} pulls left of {total}"
    if window:
        text += f" per {window / 3600:g} hours"
    source = headers.get("docker-ratelimit-source", "")
    return f"{text} ({source})" if source else text


def rate_limited(host: str, headers: Mapping[str, str]) -> RateLimitError:
    """Return the error with what the registry allows, and when to ask it again."""
    details = []
    if allowance := rate_limit(headers):
        details.append(allowance)
    if (pause := retry_after(headers)) is not None:
        details.append(f"again in {pause:.0f} s")
    tail = f": {', '.join(details)}" if details else ""
    return RateLimitError(
        f"registry rate limit exceeded (HTTP 429): {host}{tail}",
        f"log in, which raises most limits (ch-image login {host}); or use a mirror",
        pause=math.ceil(pause or 0),
    )


def _quota(text: str) -> tuple[int, int] | None:
    """Read ``100;w=21600`` as (100, 21600)."""
    match = re.match(r"([0-9]{1,15})(?![0-9])(?:\s*;\s*w=([0-9]{1,15})(?![0-9]))?", text.strip())
    return (int(match[1]), int(match[2] or 0)) if match else None
