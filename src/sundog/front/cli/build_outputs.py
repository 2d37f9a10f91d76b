"""The values of ``build --output``.

Specification: the reference of ``docker buildx build``, and podman-build(1).  A value without
``type=`` is a directory, or ``-`` for a tar on standard output.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass

from sundog.base.spelling import BOOLEANS, nearest
from sundog.errors import UsageError
from sundog.image.convert.formats import (
    DIRECTORY,
    DOCKER_ARCHIVE,
    OCI_ARCHIVE,
    OCI_DIRECTORY,
    STANDARD_STREAM,
    TAR,
    Place,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_LOCAL, _OCI, _IMAGE, _REGISTRY, _CACHE = "local", "oci", "image", "registry", "cacheonly"
_FORMATS = {_LOCAL: DIRECTORY, "tar": TAR, _OCI: OCI_ARCHIVE, "docker": DOCKER_ARCHIVE}
_STREAMS = ("tar", _OCI)  # without a destination, as in buildx
# The keys of each type.
_KEYS: dict[str, Sequence[str]] = {
    _LOCAL: ("dest",),
    "tar": ("dest",),
    _OCI: ("dest", "name", "tar", "compression"),
    "docker": ("dest", "name"),
    _IMAGE: ("name", "push", "compression"),
    _REGISTRY: ("name", "compression"),
    _CACHE: (),
}
_COMPRESSIONS = {
    "gzip": "gzip", "zstd": "zstd", "uncompressed": "none", "estargz": "estargz",
    "zstd:chunked": "zstd:chunked",
}  # fmt: skip
_HINT = "as in --output type=oci,dest=FILE"


@dataclass(frozen=True, slots=True)
class Output:
    """A destination of a build's result.

    place       the directory or the archive; None for storage, or for nothing
    archived    the names of the image in an archive; () for those of -t
    names       the names that it gets in storage, besides those of -t
    is_stored   it asks for an image in storage
    pushes      it asks for a copy in registries: of ``names``, else of those of -t
    compression that of layers made here
    """

    place: Place | None
    archived: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    is_stored: bool = False
    pushes: bool = False
    compression: str = "gzip"

    @property
    def is_stream(self) -> bool:
        """Tell whether it is standard output."""
        return self.place is not None and self.place.is_stream


PUSHED = Output(None, is_stored=True, pushes=True)


def chosen_outputs(texts: Sequence[str]) -> tuple[Output, ...]:
    """Return the values of all ``--output``; raise UsageError."""
    outputs = tuple(map(parse_output, texts))
    if sum(output.is_stream for output in outputs) > 1:
        raise UsageError("--output: two archives on standard output", "give one of them dest=FILE")
    return outputs


def parse_output(text: str) -> Output:
    """Return the value of one ``--output``; raise UsageError."""
    fields = _fields(text)
    kind = fields.pop("type")
    if kind not in _KEYS:
        close = nearest(kind, _KEYS)
        raise UsageError(
            f"--output: no such type: {kind}",
            f"did you mean {close}?" if close else f"one of: {', '.join(_KEYS)}",
        )
    for key in fields:
        if key not in _KEYS[kind]:
            close = nearest(key, _KEYS[kind])
            known = f"type={kind} takes {', '.join(_KEYS[kind]) or 'nothing else'}"
            raise UsageError(
                f"--output: type={kind} has no {key}",
                f"did you mean {close}?  {known}" if close else known,
            )
    names = tuple(filter(None, fields.get("name", "").split(",")))
    compression = _compression(fields.get("compression", "gzip"))
    if kind in _FORMATS:
        is_tar = _boolean(fields, "tar", otherwise=True)
        form = _FORMATS[kind] if is_tar else OCI_DIRECTORY
        destination = fields.get("dest", STANDARD_STREAM if kind in _STREAMS and is_tar else "")
        return Output(_place(kind, form, destination), names, compression=compression)
    pushes = kind == _REGISTRY or _boolean(fields, "push", otherwise=False)
    is_stored = kind != _CACHE
    return Output(None, names=names, is_stored=is_stored, pushes=pushes, compression=compression)


def _fields(text: str) -> dict[str, str]:
    """Return the fields of a value by their lower-case keys; raise UsageError."""
    try:
        [items] = csv.reader([text], strict=True)
    except (csv.Error, ValueError):
        raise UsageError(f"--output: not a list of fields: {text}", _HINT) from None
    if items in ([text], []) and not text.lower().startswith("type="):
        if text == STANDARD_STREAM:
            return {"type": "tar", "dest": text}
        return {"type": _LOCAL, "dest": text}
    fields: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        key = key.strip().lower()
        if not key or not equals:
            raise UsageError(f"--output: {text}: not a field: {item}", _HINT)
        if key in fields:
            raise UsageError(f"--output: {text}: two fields {key}", "leave out one of them")
        fields[key] = value
    if "type" not in fields:
        raise UsageError(f"--output: {text}: no type", f"one of: {', '.join(_KEYS)}")
    return fields


def _place(kind: str, form: str, destination: str) -> Place:
    place = Place(form, destination)
    if not destination:
        raise UsageError(
            f"--output: type={kind}: no dest",
            "dest=FILE for docker load; without --output, the image is in storage"
            if kind == "docker"
            else f"write type={kind},dest=PATH",
        )
    if destination == STANDARD_STREAM and not place.is_stream:
        raise UsageError(
            "--output: a directory can't go to standard output", "write type=tar,dest=-"
        )
    return place


def _compression(name: str) -> str:
    if name not in _COMPRESSIONS:
        raise UsageError(
            f"--output: no such compression: {name}", f"one of: {', '.join(_COMPRESSIONS)}"
        )
    return _COMPRESSIONS[name]


def _boolean(fields: dict[str, str], key: str, *, otherwise: bool) -> bool:
    value = fields.get(key)
    if value is None:
        return otherwise
    if value not in BOOLEANS:
        raise UsageError(f"--output: {key}: neither true nor false: {value}", f"{key}=true")
    return BOOLEANS[value]
