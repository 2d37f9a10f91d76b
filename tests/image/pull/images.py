"""Make the images of a registry, blob by blob: well-formed, awkward and bad ones."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sundog.image.oci import media_types
from tests.image.layer.archives import Entry, archive, directory, file, symlink

if TYPE_CHECKING:
    from collections.abc import Callable

JsonObject = dict[str, Any]

# The end of a media type, and the function that makes the blob.
_COMPRESSIONS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("+gzip", lambda raw: gzip.compress(raw, 6, mtime=0)),
    "none": ("", lambda raw: raw),
    "zstd": (
        "+zstd",
        lambda raw: (
            subprocess.run(
                ["zstd", "-q", "-c"], input=raw, stdout=subprocess.PIPE, check=True
            ).stdout
        ),
    ),
    "members": (
        "+gzip",
        lambda raw: gzip.compress(raw[:700], mtime=0) + gzip.compress(raw[700:], mtime=0),
    ),
}

BASE = (
    directory("bin"),
    directory("etc"),
    file("etc/base", b"base\n"),
    directory("tmp", mode=0o1777),
    symlink("lib", "usr/lib"),
)


@dataclass(frozen=True)
class Layer:
    """The descriptor of a blob, and the diff_id that the configuration will claim."""

    descriptor: JsonObject
    diff_id: str


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass
class Shelf:
    """The content of a registry: blobs and documents by digest, and tags by ``NAME:TAG``."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)  # of documents, by digest

    def blob(self, content: bytes, media_type: str, **more: object) -> JsonObject:
        name = digest(content)
        self.blobs[name] = content
        return {"mediaType": media_type, "digest": name, "size": len(content), **more}

    def document(self, value: object, media_type: str, **more: object) -> JsonObject:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        descriptor = self.blob(content, media_type, **more)
        self.types[descriptor["digest"]] = media_type
        return descriptor

    def layer(self, *entries: Entry, compression: str = "gzip", docker: bool = False) -> Layer:
        return self.tar_layer(archive(*entries).getvalue(), compression, docker=docker)

    def tar_layer(self, raw: bytes, compression: str = "gzip", *, docker: bool = False) -> Layer:
        suffix, compress = _COMPRESSIONS[compression]
        media_type = f"{media_types.OCI_LAYER}{suffix}"
        if docker:
            media_type = media_types.DOCKER_LAYER_GZIP
        return Layer(self.blob(compress(raw), media_type), digest(raw))

    def base(self) -> Layer:
        return self.layer(*BASE)

    def image(
        self,
        *layers: Layer,
        tag: str = "",
        config: JsonObject | None = None,
        architecture: tuple[str, str] = ("amd64", ""),
        docker: bool = False,
        **top: object,
    ) -> JsonObject:
        """Add an image of these layers, with the tag ``NAME:TAG`` if ``tag`` is not empty."""
        configuration: JsonObject = {
            "architecture": architecture[0],
            "os": "linux",
            "config": {"Env": ["PATH=/bin"]} if config is None else config,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created_by": f"layer {n}"} for n, _ in enumerate(layers)],
        }
        if architecture[1]:
            configuration["variant"] = architecture[1]
        types = (media_types.DOCKER_CONFIG, media_types.DOCKER_MANIFEST)
        if not docker:
            types = (media_types.OCI_CONFIG, media_types.OCI_MANIFEST)
        manifest = {
            "schemaVersion": 2,
            "mediaType": types[1],
            "config": self.blob(json.dumps(configuration).encode(), types[0]),
            "layers": [layer.descriptor for layer in layers],
            **top,
        }
        descriptor = self.document(manifest, types[1])
        if tag:
            self.tag(tag, descriptor)
        return descriptor

    def index(self, *manifests: JsonObject, tag: str, docker: bool = False) -> JsonObject:
        media_type = media_types.DOCKER_INDEX if docker else media_types.OCI_INDEX
        value = {"schemaVersion": 2, "mediaType": media_type, "manifests": list(manifests)}
        descriptor = self.document(value, media_type)
        self.tag(tag, descriptor)
        return descriptor

    def tag(self, tag: str, descriptor: JsonObject) -> None:
        self.tags[tag] = descriptor["digest"]


def for_platform(descriptor: JsonObject, architecture: str, variant: str = "") -> JsonObject:
    """Return the entry of an index for an image."""
    platform = {"architecture": architecture, "os": "linux"}
    if variant:
        platform["variant"] = variant
    return {**descriptor, "platform": platform}
