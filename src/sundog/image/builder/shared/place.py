"""The places of a shared build cache, as the user names them: ``--cache-to``, ``--cache-from``.

Specification: the reference of ``docker buildx build``, for the words.  What they mean here:
docs/reference/build-cache.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sundog.base.spelling import BOOLEANS
from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sundog.image.builder.shared.entry import Entry, Result
    from sundog.image.store.store import Store
    from sundog.image.transfer.layers import RemoteLayer

    # Return the place of a specification.
    OpenPlace = Callable[["PlaceText"], "Place"]

REGISTRY, LOCAL = "registry", "local"
_DIRECTORY = {"--cache-to": "dest", "--cache-from": "src"}
_ELSEWHERE = ("gha", "inline", "s3", "azblob")
# docker's words for the form of what it writes → the compression here.
_COMPRESSIONS = {"gzip": "gzip", "zstd": "zstd", "uncompressed": "none"}
_WHOLE = "all steps are always there, each as an OCI image"
_MODES = ("min", "max")


@dataclass(frozen=True, slots=True)
class PlaceText:
    """One value of an option: ``where`` is a repository or a directory."""

    option: str
    kind: str
    where: str
    compression: str = "gzip"
    ignores_errors: bool = True

    @classmethod
    def parse(cls, text: str, option: str) -> PlaceText:
        """Read ``REPO`` or ``type=…,KEY=VALUE,…``; raise UsageError."""
        if "=" not in text:
            text = f"ref={text}"
        given = dict(_pair(word, text, option) for word in text.split(","))
        kind = given.pop("type", REGISTRY)
        if kind not in (REGISTRY, LOCAL):
            raise UsageError(f"{option}: type={kind} is not possible here", _other_type(kind))
        key = "ref" if kind == REGISTRY else _DIRECTORY[option]
        where = given.pop(key, "")
        if not where:
            raise UsageError(f"{option} {text}: no {key}", f"write type={kind},{key}=…")
        if option == "--cache-from":
            _refuse_rest(given, text, option)
            return cls(option, kind, where)
        compression = given.pop("compression", "gzip")
        if compression not in _COMPRESSIONS:
            known = ", ".join(_COMPRESSIONS)
            raise UsageError(f"{option}: compression={compression}", f"one of: {known}")
        if (mode := given.pop("mode", "max")) not in _MODES:
            raise UsageError(f"{option}: mode={mode}", f"leave it out: {_WHOLE}")
        for word in ("image-manifest", "oci-mediatypes"):
            if not _boolean(given.pop(word, "true"), word, option):
                raise UsageError(f"{option}: {word}=false", f"leave it out: {_WHOLE}")
        ignores = _boolean(given.pop("ignore-error", "true"), "ignore-error", option)
        _refuse_rest(given, text, option)
        return cls(option, kind, where, _COMPRESSIONS[compression], ignores)


def _pair(word: str, text: str, option: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals or not value:
        raise UsageError(f"{option} {text}: {word!r} has no value", "write KEY=VALUE,…")
    return key.strip().lower(), value.strip()


def _boolean(value: str, word: str, option: str) -> bool:
    if value not in BOOLEANS:
        raise UsageError(f"{option}: {word}={value}", "true or false")
    return BOOLEANS[value]


def _refuse_rest(given: Mapping[str, str], text: str, option: str) -> None:
    if given:
        unknown = ", ".join(given)
        raise UsageError(f"{option} {text}: not possible here: {unknown}", "leave it out")


def _other_type(kind: str) -> str:
    if kind in _ELSEWHERE:
        return "a repository of any registry will do: type=registry,ref=HOST/NAME"
    return "type=registry,ref=HOST/NAME or type=local"


@dataclass(frozen=True, slots=True)
class Found:
    """An entry, and its layer where it is; None for an instruction that changed no file."""

    entry: Entry
    layer: RemoteLayer | None


class Place(Protocol):
    """A place of entries."""

    @property
    def name(self) -> str:
        """The name for messages; two places of one name are one."""

    def find(self, key: str) -> Found | None:
        """Return the entry under a key, None if there is none.  Raises SundogError."""

    def write(self, store: Store, result: Result, *, replaces: bool) -> None:
        """Write an entry, as a whole or not at all; raise SundogError.

        One that is there stays, unless this one ``replaces`` it.
        """


@dataclass(frozen=True, slots=True)
class Sharing:
    """The shared caches of one command.  Entries older than ``longest`` seconds are ignored."""

    sources: Sequence[PlaceText]
    destinations: Sequence[PlaceText]
    longest: float | None
    open_place: OpenPlace
