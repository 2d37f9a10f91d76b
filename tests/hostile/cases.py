"""The parts of a table of hostile archives: a case, and the archives around the hostile part."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sundog.image.layer.limits import Limits
from tests.image.layer.archives import archive, directory, file, pax_header, raw_header

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.image.layer.archives import Entry

CANARY = "/CANARY"
HARMLESS = (directory("etc"), file("etc/motd", b"hello\n"))


@dataclass(frozen=True)
class Case:
    """An archive, and the result of importing it.

    Either it is refused with ``says`` in the message.  Or it is accepted, and the topmost layer
    ``holds`` files (contents), symlinks (``-> TARGET``), and other things by find(1)'s letter for
    their type; None is a missing one.  ``check`` gets the tree.
    """

    name: str
    data: Callable[[], bytes]
    says: str = ""
    holds: Mapping[str, bytes | str | None] = field(default_factory=dict)
    command: str = "import"
    limits: Limits | None = None
    check: Callable[[bytes], None] | None = None


class Outside:
    """The directory outside; ``CANARY`` in names and targets stands for it."""

    canary = CANARY


def settled(text: str) -> str:
    """Return ``text`` with ``CANARY`` replaced by its directory."""
    return text.replace("/CANARY", Outside.canary).replace("CANARY", Outside.canary[1:])


def tree(*entries: Entry) -> bytes:
    """Return an archive of ``entries``."""

    def name(text: str | bytes) -> str | bytes:
        return settled(text) if isinstance(text, str) else text

    return archive(
        *(replace(entry, name=name(entry.name), link=name(entry.link)) for entry in entries)
    ).getvalue()


def tar(*entries: Entry) -> Callable[[], bytes]:
    """Return an archive of ``entries`` after some harmless ones."""
    return lambda: tree(*HARMLESS, *entries)


def raw(*parts: bytes, end: bytes = bytes(1024)) -> Callable[[], bytes]:
    """Return an archive of headers and data, each padded to whole blocks, after harmless ones."""
    padded = b"".join(part + bytes(-len(part) % 512) for part in parts)

    def make() -> bytes:
        harmless = archive(*HARMLESS).getvalue()
        return harmless[: 3 * 512] + padded + end

    return make


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def plain_tar(members: Mapping[str, bytes], *links: tarfile.TarInfo) -> bytes:
    """Return a tar of files, and of ``links`` after them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
        for link in links:
            made.addfile(link)
    return out.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


DEEP = b"[" * 100_000
BOMB = Limits(ratio=100, free=1 << 20)
BASE_LAYER = archive(*HARMLESS).getvalue()


def image_config(*layers: bytes, **changes: Any) -> dict[str, Any]:
    diff_ids = [digest_of(layer) for layer in layers]
    return {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        **changes,
    }


def docker(
    *upper: bytes | Callable[[], bytes],
    manifest: Callable[[dict[str, Any]], object] = lambda entry: [entry],
    config: object = None,
    extra: Mapping[str, bytes] | None = None,
    links: tuple[tarfile.TarInfo, ...] = (),
    **changes: Any,
) -> Callable[[], bytes]:
    """Return the output of ``docker save`` for a base layer and ``upper``, with changes.

    ``manifest`` gets the good entry and returns the contents of manifest.json; it may return bytes.
    ``config`` is the image's configuration, by default a good one with ``changes``.
    """

    def make() -> bytes:
        layers = (BASE_LAYER, *(part if isinstance(part, bytes) else part() for part in upper))
        good = image_config(*layers, **changes)
        names = [f"{number}/layer.tar" for number in range(len(layers))]
        entry = {"Config": "config.json", "RepoTags": ["img"], "Layers": names}
        members = {
            **dict(zip(names, layers, strict=True)),
            "config.json": encoded(good if config is None else config),
            "manifest.json": encoded(manifest(entry)),
            **(extra or {}),
        }
        return plain_tar(members, *links)

    return make


def encoded(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


OCI = "application/vnd.oci.image."


@dataclass
class Layout:
    """An unfinished OCI layout: documents that can be changed, blobs by digest."""

    config: Any
    manifest: Any
    index: Any
    layout: Any
    blobs: dict[str, bytes]
    links: list[tarfile.TarInfo] = field(default_factory=list)

    def put(self, content: bytes) -> dict[str, Any]:
        self.blobs[digest_of(content)] = content
        return {"digest": digest_of(content), "size": len(content)}


def oci(
    change: Callable[[Layout], object] = lambda _: None,
    late: Callable[[Layout], object] = lambda _: None,
) -> Callable[[], bytes]:
    """Return a layout of one layer: ``change`` runs before digests are computed, ``late`` after."""

    def make() -> bytes:
        layout = Layout(image_config(BASE_LAYER), {}, {}, {"imageLayoutVersion": "1.0.0"}, {})
        layout.manifest = {
            "schemaVersion": 2,
            "config": {"mediaType": f"{OCI}config.v1+json"},
            "layers": [{"mediaType": f"{OCI}layer.v1.tar", **layout.put(BASE_LAYER)}],
        }
        entry = {
            "mediaType": f"{OCI}manifest.v1+json",
            "annotations": {"org.opencontainers.image.ref.name": "img:latest"},
        }
        layout.index = {"schemaVersion": 2, "manifests": [entry]}
        change(layout)
        if isinstance(layout.manifest, dict) and layout.manifest["config"] is not None:
            config = layout.put(encoded(layout.config))
            layout.manifest["config"] = config | layout.manifest["config"]
        entry.update(layout.put(encoded(layout.manifest)) | entry)
        late(layout)
        members = {"oci-layout": encoded(layout.layout), "index.json": encoded(layout.index)}
        for digest, content in layout.blobs.items():
            members["blobs/" + digest.replace(":", "/")] = content
        return plain_tar(members, *layout.links)

    return make


def base_256(number: int, width: int) -> bytes:
    """Return a field of ``width`` bytes in GNU's binary form."""
    mask = (1 << (width * 8)) - 1
    return ((number & mask) | (1 << (width * 8 - 1))).to_bytes(width, "big")


def named(name: bytes, **fields: bytes) -> bytes:
    return raw_header(name, **fields)


def sized(size: int) -> bytes:
    return b"%011o\0" % size


def pax(*records: tuple[bytes, bytes]) -> bytes:
    return pax_header(*records)
