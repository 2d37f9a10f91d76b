"""Media types of manifests, configurations and layers.

Specification: OCI image-spec v1.1, media-types.md, and Docker's "Image Manifest Version 2,
Schema 2", whose types mean the same.  Data only.
"""

from __future__ import annotations

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"  # the configuration of an artifact that has none
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = f"{OCI_LAYER}+gzip"
OCI_LAYER_ZSTD = f"{OCI_LAYER}+zstd"
_OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"

DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = f"{DOCKER_LAYER}.gzip"
DOCKER_LAYER_ZSTD = f"{DOCKER_LAYER}.zstd"
_DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"

# From before 2017; such a manifest gives its layers no media types.
DOCKER_SCHEMA1 = frozenset(
    f"application/vnd.docker.distribution.manifest.v1+{suffix}" for suffix in ("json", "prettyjws")
)

INDEXES = frozenset((OCI_INDEX, DOCKER_INDEX))
MANIFESTS = frozenset((OCI_MANIFEST, DOCKER_MANIFEST))
CONFIGS = frozenset((OCI_CONFIG, DOCKER_CONFIG))

# Layers that only their owner may distribute: hosts other than the registry have them.
FOREIGN_LAYERS = frozenset(
    (
        _OCI_FOREIGN,
        f"{_OCI_FOREIGN}+gzip",
        f"{_OCI_FOREIGN}+zstd",
        _DOCKER_FOREIGN,
        f"{_DOCKER_FOREIGN}.gzip",
    )
)
LAYERS = FOREIGN_LAYERS | {
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_LAYER_ZSTD,
}

_AS_OCI = {
    DOCKER_LAYER: OCI_LAYER,
    DOCKER_LAYER_GZIP: OCI_LAYER_GZIP,
    DOCKER_LAYER_ZSTD: OCI_LAYER_ZSTD,
    _DOCKER_FOREIGN: _OCI_FOREIGN,
    f"{_DOCKER_FOREIGN}.gzip": f"{_OCI_FOREIGN}+gzip",
}


def as_oci(media_type: str) -> str:
    """Return the OCI name of a layer's media type; both names mean the same bytes."""
    return _AS_OCI.get(media_type, media_type)
