"""Keys of the build cache: a hash of everything that an instruction's result depends on.

A result is found again when the layers below, the instruction after substitution and what it reads
are the same, wherever the Dockerfile and its context lie and whenever they were touched.  The
layers stand for all that happened before: a LABEL that changed does not make the RUN after it run
again, and a RUN that was made again and gave the same layer leaves what follows valid.

Must not read files: who knows what an instruction reads hands in its digest.
"""

from __future__ import annotations

import hashlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    # What a key is made of.
    Field = str | bytes | int | None | tuple["Field", ...] | list["Field"] | dict[str, str]

# A new number forgets all results: when keys or the meaning of an instruction change.
_VERSION = 1


def cache_key(kind: str, layers: Sequence[str], *fields: Field) -> str:
    """Return the key of an instruction on top of ``layers``, as hexadecimal digits.

    Each instruction has a ``kind`` of its own and always the same fields.
    """
    return digest_of([_VERSION, kind, tuple(layers), fields])


def digest_of(field: Field) -> str:
    """Return SHA-256 of a value as hexadecimal digits.

    Values that differ have different texts; a list is like a tuple, and the order of a dict is of
    no account.
    """
    state = hashlib.sha256()
    for part in _encoded(field):
        state.update(part)
    return state.hexdigest()


def _encoded(field: Field) -> Iterable[bytes]:
    """Write a value so that its end shows: netstrings, and lists that say their length."""
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
