"""Keys of the build cache: a hash of everything that an instruction's result depends on.

The cache finds a result again if the layers below, the instruction after substitution and the files
that it reads are the same.  The place of the Dockerfile and its context, and times, do not count.
The layers stand for everything that happened before.  So a changed LABEL does not make the RUN
after it run again.  A RUN that ran again and made the same layer keeps the later results valid.

This module must not read files: the caller knows what an instruction reads, and passes its digest.
"""

from __future__ import annotations

import hashlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    # The values that a key is made of.
    Field = str | bytes | int | None | tuple["Field", ...] | list["Field"] | dict[str, str]

# A new number makes all results invalid: change it with the keys or the meaning of an instruction.
_VERSION = 1


def cache_key(kind: str, layers: Sequence[str], *fields: Field) -> str:
    """Return the key of an instruction on top of ``layers``, as hexadecimal digits.

    Each instruction has a ``kind`` of its own and always the same fields.
    """
    return digest_of([_VERSION, kind, tuple(layers), fields])


def digest_of(field: Field) -> str:
    """Return SHA-256 of a value as hexadecimal digits.

    Different values have different texts.  A list equals a tuple, and the order of a dict does not
    count.
    """
    state = hashlib.sha256()
    for part in _encoded(field):
        state.update(part)
    return state.hexdigest()


def _encoded(field: Field) -> Iterable[bytes]:
    """Encode a value so that its end is clear: netstrings, and lists with their length."""
    match field:
        case str():
            data = field.encode("utf-8", "surrogateescape")
            yield b"s%d:%b" % (len(data), data)
        case bytes():
            yield b"b%d:%b" % (len(field), field)
        case int():
            yield b"i%d;" % field
        case None:
            yield b"n;"
        case dict():
            yield b"m"
            yield from _encoded(tuple(sorted(field.items())))
        case _:
            yield b"l%d:" % len(field)
            for item in field:
                yield from _encoded(item)
