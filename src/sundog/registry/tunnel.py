"""TLS inside of TLS: to a server through a proxy that is itself spoken to by TLS."""

from __future__ import annotations

import ssl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from sundog.registry.connection import Socket

    _Result = TypeVar("_Result")

_PIECE = 1 << 16


class InnerTls:
    """A TLS connection inside of ``outer``; does what a socket does, as far as it is needed.

    Raises ssl.SSLError, and what ``outer`` raises.
    """

    def __init__(self, outer: Socket, context: ssl.SSLContext, host: bytes) -> None:
        self._outer = outer
        self._come, self._go = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._come, self._go, server_hostname=host)
        self._until_done(self._tls.do_handshake)

    def recv_into(self, buffer: memoryview, /) -> int:
        """Read what there is into ``buffer``; return how many bytes, 0 at the end."""
        try:
            data = self._until_done(lambda: self._tls.read(len(buffer)))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return 0
        buffer[: len(data)] = data
        return len(data)

    def sendall(self, data: bytes | memoryview, /) -> None:
        """Send all of ``data``."""
        self._until_done(lambda: self._tls.write(data))

    def fileno(self) -> int:
        """Return the descriptor of the connection to the proxy."""
        return self._outer.fileno()

    def close(self) -> None:
        """Close both connections."""
        self._outer.close()

    def _until_done(self, call: Callable[[], _Result]) -> _Result:
        """Call, and move bytes between both connections, until OpenSSL wants no more."""
        while True:
            try:
                result = call()
            except ssl.SSLWantReadError:
                self._flush()
                buffer = memoryview(bytearray(_PIECE))
                count = self._outer.recv_into(buffer)
                if count:
                    self._come.write(buffer[:count])
                else:
                    self._come.write_eof()
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        while data := self._go.read():
            self._outer.sendall(data)
