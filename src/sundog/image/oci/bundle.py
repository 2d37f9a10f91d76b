"""Annotations of ``config.json`` by which a bundle of OCI runtime-spec speaks to Sundog alone."""

# The version of the specification that bundles and ch-run-oci follow.
from __future__ import annotations

OCI_VERSION = "1.2.0"
# The name of an image in storage that is the container's root, in place of the directory root.path.
IMAGE_ANNOTATION = "org.sundog.image"
# The absolute path of the storage directory that has it.
STORAGE_ANNOTATION = "org.sundog.storage"
# The absolute path of the shared store that has it, in place of a storage directory.
STORE_ANNOTATION = "org.sundog.store"
# The emulation of root, as for ch-image build --force.
FORCE_ANNOTATION = "org.sundog.force"
