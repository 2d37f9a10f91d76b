"""Layers as blobs with a table of contents: made by skopeo, and put into a store as they are."""

import hashlib
import io
import json
import os
import random
import struct
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sundog.base.record.chunk_table import ChunkTable
from sundog.base.record.layer_path import LAYER_FILE, LAYER_SPANS, LayerPath, link_tree
from sundog.image.layer.blob_layer import planned, write_blob_layer
from sundog.image.layer.blob_tables import CHUNKED_DIGEST, CHUNKED_PLACE, BlobTable, read_table
from sundog.image.layer.compression import zstd_decompressor
from sundog.image.layer.gzip_index import GzipTable, read_gzip_index
from sundog.image.layer.planned_index import PlannedIndex
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.store.layer_ids import LayerId, blob_layer_id
from sundog.image.store.layer_info import LayerInfo
from sundog.image.store.store import Store

try:
    from compression import zstd
except ImportError:
    from backports import zstd

OCI = "application/vnd.oci.image"
NOISE = random.Random(7).randbytes(3 << 20)


def large_tars(place: Path, busybox_tar: Path) -> list[Path]:
    """Write the layers of an image that runs: two large ones, and a small one on top."""
    contents = [
        {"noise": NOISE, "old": b"old", "d/lower": b"lower"},
        {"more": NOISE[::-1], ".wh.old": b"", "d/upper": b"upper"},
        {"d/.wh..wh..opq": b"", "d/top": b"top"},
    ]
    tars = []
    for number, files in enumerate(contents):
        tars.append(place / f"{number}.tar")
        if not number:
            tars[0].write_bytes(busybox_tar.read_bytes())
        with tarfile.open(tars[-1], "a") as tar:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(data), 0o644
                tar.addfile(member, io.BytesIO(data))
    return tars


def layout(place: Path, tars: Sequence[Path]) -> str:
    """Make an OCI layout of uncompressed layers; return its name for skopeo."""
    blobs = place / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    layers = [put(tar.read_bytes(), f"{OCI}.layer.v1.tar") for tar in tars]
    rootfs = {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
    document = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": put(json.dumps(config).encode(), f"{OCI}.config.v1+json"),
        "layers": layers,
    }
    manifest = put(json.dumps(document).encode(), f"{OCI}.manifest.v1+json")
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    (place / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    (place / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return f"oci:{place}:x"


def layers_of(place: Path) -> list[tuple[Descriptor, Path]]:
    """Return the layers of a layout with one image, and their files."""
    blobs = place / "blobs/sha256"
    index = json.loads((place / "index.json").read_text())
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_text())
    found = [Descriptor.from_json(layer) for layer in manifest["layers"]]
    return [(layer, blobs / layer.digest.encoded) for layer in found]


def chunked(place: Path, tars: Sequence[Path]) -> list[tuple[Descriptor, Path]]:
    """Return the blobs that skopeo makes of tars as zstd:chunked."""
    source = layout(place / "plain", tars)
    options = ("--insecure-policy", "-q", "--dest-compress-format", "zstd:chunked")
    target = f"oci:{place}/chunked:x"
    subprocess.run(["skopeo", "copy", *options, source, target], check=True, capture_output=True)
    return layers_of(place / "chunked")


def table_of(layer: Descriptor, blob: Path) -> ChunkTable:
    """Return the chunks of a blob, as a store has them."""
    data = blob.read_bytes()
    table = read_table(layer, lambda offset, size: data[offset : offset + size])
    tree, owners = planned(table.members(), ())
    return ChunkTable(b"".join(PlannedIndex(tree, owners, table.kind).chunks.parts()))


def put_blob(
    store: Store,
    layer: Descriptor,
    blob: Path,
    below: Sequence[LayerId] = (),
    spans: bytes = b"",
) -> LayerId:
    """Put a layer into the store as the blob that it is; ``spans`` is the index of a gzip."""
    draft = store.scratch.new()
    data = blob.read_bytes()
    table: BlobTable | GzipTable
    if spans:
        table = read_gzip_index(spans, len(data))
        Path(os.fsdecode(draft + LAYER_SPANS)).write_bytes(spans)
    else:
        table = read_table(layer, lambda offset, size: data[offset : offset + size])
    made = write_blob_layer(draft, table, store.layers.paths(below))
    Path(os.fsdecode(draft + LAYER_FILE)).write_bytes(data)
    identity = blob_layer_id(os.urandom(10).hex(), table.digest)
    link_tree(draft, identity.encode())
    assert LayerPath.of(draft).links
    info = LayerInfo(root_opaque=made.root_opaque, size=made.size)
    return store.layers.add(draft, identity, info)


SKIPPED = struct.Struct("<2I")  # the head of a frame of zstd that is skipped: RFC 8878, 3.1.2
SKIPPED_MAGIC = 0x184D2A50


def forged(
    layer: Descriptor, blob: Path, change: Callable[[list[dict[str, Any]]], object]
) -> tuple[Descriptor, Path]:
    """Return a blob of zstd:chunked with another table of contents, to which it agrees."""
    data = blob.read_bytes()
    place, packed = map(int, layer.annotations[CHUNKED_PLACE].split(":")[:2])
    table = json.loads(zstd_decompressor().decompress(data[place : place + packed], 1 << 30))
    change(table["entries"])
    text = json.dumps(table).encode()
    frame = zstd.compress(text)
    data = data[: place - SKIPPED.size] + SKIPPED.pack(SKIPPED_MAGIC, len(frame)) + frame
    annotations = {
        CHUNKED_DIGEST: str(Digest.of(frame)),
        CHUNKED_PLACE: f"{place}:{len(frame)}:{len(text)}:1",
    }
    target = blob.parent / "forged"
    target.write_bytes(data)
    return Descriptor(layer.media_type, Digest.of(data), len(data), annotations), target
