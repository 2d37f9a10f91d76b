"""A short name for a text of any length: FNV-1a with 64 bits, as hexadecimal digits.

It is for names among those of one user, who only harms himself by equal ones.
"""

from __future__ import annotations

HASH_START = 0xCBF29CE484222325
HASH_FACTOR = 0x100000001B3


def hashed(text: bytes) -> bytes:
    """Return the 16 digits of the hash of ``text``."""
    value = HASH_START
    for byte in text:
        value = (value ^ byte) * HASH_FACTOR & 0xFFFFFFFFFFFFFFFF
    return b"%016x" % value
