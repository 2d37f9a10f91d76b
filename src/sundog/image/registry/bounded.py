"""Bounds for parts of an answer that ``http.client`` reads without limit; servers may be hostile.

Specification: RFC 9112, §7.1 (chunks and trailers), and RFC 9110, §15.2 (interim answers).

The methods overridden here are private ones of ``http.client``; tests fail if ``http.client`` no
longer calls them.
"""

from __future__ import annotations

import http.client

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

TYPE_CHECKING = False
if TYPE_CHECKING:
    import urllib3

_INTERIM_ANSWERS = 16
_LINES = 100  # of trailers: as many header fields as http.client allows
_LINE = 1 << 16
_CHUNK_DIGITS = 16


class _Response(http.client.HTTPResponse):
    _interim_answers = 0

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        self._interim_answers += 1
        if self._interim_answers > _INTERIM_ANSWERS:
            raise http.client.HTTPException("too many interim answers")
        return version, status, reason

    def _read_next_chunk_size(self) -> int:
        # int(…, 16) accepts a sign, and a chunk of -1 bytes would be read without end.
        digits = self.fp.readline(_LINE).partition(b";")[0].strip()
        if len(digits) > _CHUNK_DIGITS or not digits.isalnum():
            self._close_conn()  # type: ignore[attr-defined]
            raise http.client.HTTPException("a chunk without a size")
        try:
            return int(digits, 16)
        except ValueError as error:
            self._close_conn()  # type: ignore[attr-defined]
            raise http.client.HTTPException("a chunk without a size") from error

    def _read_and_discard_trailer(self) -> None:
        for _ in range(_LINES):
            if self.fp.readline(_LINE) in (b"\r\n", b"\n", b""):
                return
        raise http.client.HTTPException("trailers without an end")


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def bound(manager: urllib3.PoolManager) -> urllib3.PoolManager:
    """Bound all answers that come through ``manager``; return it."""
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
    return manager
