"""tar-split: what is left of a tar without the data of its files, so that it can be put together.

Engines that keep layers as files make the tar of them again with it.  Specification: tar-split's
tar/storage: JSON, one object per line; a file has the checksum CRC-64 of ISO 3309 of its data.
"""

from __future__ import annotations

import base64
import json

from sundog.image.layer.names import is_utf8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FILE, _SEGMENT = 1, 2
_WORD = 64
_ONES = (1 << _WORD) - 1


class TarSplit:
    """The lines about an archive; each is given to ``write``."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._raw = bytearray()
        self._position = 0
        self._name = b""
        self._size = 0
        self._crc = 0

    def raw(self, data: bytes) -> None:
        """Take bytes that are no file's data."""
        self._raw += data

    def begin(self, name: bytes, size: int) -> None:
        """Begin a member, with ``size`` bytes of data to come."""
        self._flush()
        self._name, self._size, self._crc = name, size, 0
        if not size:
            self.end()

    def data(self, data: bytes | memoryview) -> None:
        """Take bytes of the member's data."""
        self._crc = crc64(data, self._crc)

    def end(self) -> None:
        """End the member, when all of its data were taken."""
        line: dict[str, object] = {"type": _FILE}
        if is_utf8(self._name):
            line["name"] = self._name.decode()
        else:
            line["name_raw"] = _base64(self._name)
        if self._size:
            line |= {"size": self._size, "payload": _base64(self._crc.to_bytes(8, "big"))}
        self._put(line)

    def finish(self) -> None:
        """Write what is left."""
        self._flush()

    def _flush(self) -> None:
        if self._raw:
            self._put({"type": _SEGMENT, "payload": _base64(self._raw)})
            self._raw.clear()

    def _put(self, line: dict[str, object]) -> None:
        line["position"] = self._position
        self._position += 1
        self._write(json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")


def _base64(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode()


def crc64(data: bytes | memoryview, crc: int = 0) -> int:
    """Return the CRC-64 of ISO 3309 of ``data`` behind that with the checksum ``crc``.

    The data are a polynomial over GF(2), the first bit its highest coefficient: bit 0 of ``value``.
    The divisor is x^64 + x^4 + x^3 + x + 1.  For s = 2^j, x^(64 s) leaves x^(4 s) + x^(3 s) + x^s +
    1, so that the upper part of a polynomial is added to the lower at four places, and the
    polynomial gets half as long.  Python's integers do so at 280 MB/s; a table of bytes, at 7.
    """
    size = 8 * len(data) + _WORD
    value = int.from_bytes(data, "little") ^ crc ^ _ONES
    step = 1 << (size // _WORD).bit_length()
    while size > _WORD:
        low = _WORD * step
        if size <= low:
            step >>= 1
            continue
        high = size - low
        upper, lower = value & ((1 << high) - 1), value >> high
        size = max(low, high + 4 * step)
        value = lower << (size - low)
        for power in (4, 3, 1, 0):
            value ^= upper << (size - high - power * step)
    return value ^ _ONES
