"""Keys of the build cache: a hash of everything that an instruction's result depends on.

The cache finds a result again if the layers below, the instruction after substitution and the files
that it reads are the same.  The place of the Dockerfile and its context, and times, do not count.
The layers stand for everything that happened before.  So a changed LABEL does not make the RUN
after it run again.  A RUN that ran again and made the same layer keeps the later results valid.

A key has two digests.  The local one names layers by their IDs in this store, and reads nothing.
The portable one names them by their diff IDs, so it is the same in every store.

This module must not read files: the caller knows what an instruction reads, and passes its digest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    # The values that a key is made of.
    Field: TypeAlias = (
        str
        | bytes
        | int
        | tuple["Field", ...]
        | list["Field"]
        | dict[str, str]
        | "Stack"
        | "StepKey"
        | "Part"
        | "Contents"
        | None
    )
    # Name the layers of an image, bottom first.
    Naming = Callable[["Stack"], Sequence[str]]

# A new number makes all results invalid: change it with the keys or the meaning of an instruction.
_VERSION = 1
_PORTABLE = "portable"
NOTED = 4096  # files of a step of which a checksum is kept
# The kinds of parts, in the order in which ``explanation`` looks for one that differs.
OTHER, ARGUMENT, FILES, IMAGE, MOUNT, DEVICE = (
    "other",
    "argument",
    "files",
    "image",
    "mount",
    "device",
)


class Stack(tuple[str, ...]):
    """The layers of an image as a field of a key, bottom first, by their names in this build."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A field with the words that people have for it; digests have the value alone.

    ``name`` says which one of its ``kind`` it is.
    """

    kind: str
    name: str
    value: Field


@dataclass(frozen=True, slots=True)
class Contents:
    """The digest of some files, and checksums of the first of them, by path; ``is_whole``: all."""

    digest: str
    files: Mapping[bytes, int]
    is_whole: bool


@dataclass(frozen=True, slots=True)
class StepKey:
    """The key of an instruction on top of ``layers``.

    Each instruction has a ``kind`` of its own and always the same ``fields``.
    """

    kind: str
    layers: Stack
    fields: tuple[Field, ...]

    @property
    def local(self) -> str:
        """The digest that names layers as this build does, as hexadecimal digits."""
        return self.named(tuple)

    def named(self, name: Naming) -> str:
        """Return the local digest with other names for the layers."""
        return digest_of([_VERSION, self.kind, self.layers, self.fields], name)

    @property
    def template(self) -> str:
        """The digest without the layers."""
        return self.named(lambda _: ())

    def portable(self, name: Naming, platform: str) -> str:
        """Return the digest that all stores agree about: ``name`` returns diff IDs."""
        return portable_digest(self.template, [[*name(each)] for each in self.stacks()], platform)

    def stacks(self) -> Iterator[Stack]:
        """Yield the layers of each image that the key names."""
        yield from _stacks((self.layers, self.fields))


def is_promised(layer: str) -> bool:
    """Tell whether this names a layer that is not here: a diff ID, as no layer's ID is one."""
    return ":" in layer


def step_key(kind: str, layers: Sequence[str], *fields: Field) -> StepKey:
    """Return the key of an instruction on top of ``layers``."""
    return StepKey(kind, Stack(layers), fields)


def portable_digest(template: str, stacks: Sequence[Sequence[str]], platform: str) -> str:
    """Return the digest of a key that all stores agree about; ``stacks`` have diff IDs."""
    return digest_of([_PORTABLE, _VERSION, platform, template, [[*each] for each in stacks]])


def cache_key(kind: str, layers: Sequence[str], *fields: Field) -> str:
    """Return the local digest of the key of an instruction on top of ``layers``."""
    return step_key(kind, layers, *fields).local


def digest_of(field: Field, name: Naming = tuple) -> str:
    """Return SHA-256 of a value as hexadecimal digits, with the names of its layers by ``name``.

    Different values have different texts.  A list equals a tuple, and the order of a dict does not
    count.
    """
    state = hashlib.sha256()
    for part in _encoded(field, name):
        state.update(part)
    return state.hexdigest()


def _stacks(field: Field) -> Iterator[Stack]:
    match field:
        case Stack():
            yield field
        case StepKey():
            yield from field.stacks()
        case Part():
            yield from _stacks(field.value)
        case tuple() | list():
            for item in field:
                yield from _stacks(item)


def _encoded(field: Field, name: Naming) -> Iterable[bytes]:
    """Encode a value so that its end is clear: netstrings, and lists with their length."""
    match field:
        case Stack():
            yield from _encoded(tuple(name(field)), name)
        case StepKey():
            yield from _encoded(field.named(name), name)
        case Part():
            yield from _encoded(field.value, name)
        case Contents():
            yield from _encoded(field.digest, name)
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
            yield from _encoded(tuple(sorted(field.items())), name)
        case _:
            yield b"l%d:" % len(field)
            for item in field:
                yield from _encoded(item, name)
