"""Plain values as bytes: None, booleans, numbers, bytes, text, tuples, lists and dictionaries.

Format: a tag of one byte, then what it needs; lengths and counts are four bytes, big-endian.

    N T F        None, True, False
    i LENGTH …   an integer, two's complement, big-endian
    f LENGTH …   a floating-point number, as float.hex() writes it
    b LENGTH …   bytes
    s LENGTH …   text in UTF-8; lone surrogates are kept
    t l COUNT …  a tuple, a list of so many values
    d COUNT …    a dictionary of so many pairs, in their order
    o VALUE …    an object: its name, then a tuple of its parts, for the reader that knows it
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # Turn a value that is not plain into its name and parts, and back.
    TakeApart = Callable[[object], "tuple[str, tuple[object, ...]]"]
    PutTogether = Callable[[str, "tuple[object, ...]"], object]

NESTING_LIMIT = 32
_COUNT_SIZE = 4


def pack_value(value: object, take_apart: TakeApart | None = None) -> bytes:
    """Return ``value`` as bytes; ``take_apart`` handles values that are not plain.

    Raises TypeError where a value is neither plain nor known to ``take_apart``.
    """
    parts: list[bytes] = []
    _add_packed(parts, value, take_apart)
    return b"".join(parts)


def _add_packed(parts: list[bytes], value: object, take_apart: TakeApart | None) -> None:
    """Append the bytes of ``value`` to ``parts``."""
    if value is None:
        parts.append(b"N")
    elif value is True or value is False:
        parts.append(b"T" if value else b"F")
    elif isinstance(value, int):
        size = value.bit_length() // 8 + 1
        parts.append(b"i" + _counted(size) + value.to_bytes(size, "big", signed=True))
    elif isinstance(value, float):
        text = value.hex().encode()
        parts += (b"f" + _counted(len(text)), text)
    elif isinstance(value, bytes):
        parts += (b"b" + _counted(len(value)), value)
    elif isinstance(value, str):
        encoded = value.encode("utf-8", "surrogatepass")
        parts += (b"s" + _counted(len(encoded)), encoded)
    elif isinstance(value, (tuple, list)):
        parts.append((b"t" if isinstance(value, tuple) else b"l") + _counted(len(value)))
        for item in value:
            _add_packed(parts, item, take_apart)
    elif isinstance(value, dict):
        parts.append(b"d" + _counted(len(value)))
        for key, item in value.items():
            _add_packed(parts, key, take_apart)
            _add_packed(parts, item, take_apart)
    elif take_apart is not None:
        name, pieces = take_apart(value)
        parts.append(b"o")
        _add_packed(parts, name, None)
        _add_packed(parts, pieces, take_apart)
    else:
        raise TypeError(f"not a plain value: {value!r}")


def _counted(size: int) -> bytes:
    """Return a length or a count as bytes.  Raises OverflowError from 4 GiB on."""
    return size.to_bytes(_COUNT_SIZE, "big")


def unpack_value(data: bytes, put_together: PutTogether | None = None) -> object:
    """Return the value that ``data`` holds; ``put_together`` makes the objects in it.

    Raises ValueError for anything that ``pack_value`` does not write: a cut value, an unknown tag,
    bytes behind a complete value, more than 32 levels.
    """
    reader = _ValueReader(data, put_together)
    try:
        value = reader.value(NESTING_LIMIT)
    except (TypeError, OverflowError, UnicodeDecodeError) as error:  # a dictionary as a key, say
        raise ValueError(f"malformed value: {error}") from None
    if reader.position != len(data):
        raise ValueError("something follows the value")
    return value


class _ValueReader:
    """Reads values from ``data``, from ``position`` on."""

    __slots__ = ("_data", "_put_together", "position")

    def __init__(self, data: bytes, put_together: PutTogether | None) -> None:
        self._data = data
        self._put_together = put_together
        self.position = 0

    def value(self, levels: int) -> object:
        """Read the next value, which may contain others, ``levels`` deep at most."""
        if not levels:
            raise ValueError("a value is nested too deeply")
        tag = self._take(1)
        if tag in b"NTF":
            return {b"N": None, b"T": True, b"F": False}[tag]
        if tag == b"o":
            return self._object(levels - 1)
        count = int.from_bytes(self._take(_COUNT_SIZE), "big")
        if tag == b"i":
            return int.from_bytes(self._take(count), "big", signed=True)
        if tag == b"f":
            return float.fromhex(self._take(count).decode("ascii"))
        if tag == b"b":
            return self._take(count)
        if tag == b"s":
            return self._take(count).decode("utf-8", "surrogatepass")
        # An item takes at least one byte: a higher count is refused before anything is made.
        if count > len(self._data) - self.position:
            raise ValueError("a count is beyond the end")
        if tag in b"tl":
            items = [self.value(levels - 1) for _ in range(count)]
            return tuple(items) if tag == b"t" else items
        if tag == b"d":
            return {self.value(levels - 1): self.value(levels - 1) for _ in range(count)}
        raise ValueError(f"unknown tag {tag!r}")

    def _object(self, levels: int) -> object:
        name, pieces = self.value(1), self.value(levels)
        if self._put_together is None or not isinstance(name, str) or not isinstance(pieces, tuple):
            raise ValueError("an object where none is expected")
        return self._put_together(name, pieces)

    def _take(self, size: int) -> bytes:
        taken = self._data[self.position : self.position + size]
        if len(taken) != size:
            raise ValueError("a value is cut")
        self.position += size
        return taken
