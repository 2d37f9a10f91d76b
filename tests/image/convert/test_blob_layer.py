"""Layers that are blobs with a table of contents: they show what they unpack to."""

import gzip
import json
import os
import random
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from sundog.image.layer.below import LayerTree
from sundog.image.layer.blob_check import are_in_place, check_blob_layer, check_gzip_layer
from sundog.image.layer.compression import open_decompressed
from sundog.image.layer.gzip_index import index_gzip
from sundog.image.layer.limits import Meter
from sundog.image.layer.unpack import unpack
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.oci.media_types import OCI_LAYER_GZIP
from sundog.image.store.layer_ids import LayerId
from sundog.image.store.store import Store
from sundog.image.store.tree_work import finish_draft, new_tree
from tests.image.convert.blobs import chunked, put_blob, table_of
from tests.image.convert.test_layer_file import LOWER, UPPER, differences
from tests.image.layer.archives import Entry, archive, file

pytestmark = pytest.mark.usefixtures("fuse")


@pytest.fixture
def store(storage: Path) -> Generator[Store]:
    with Store.open(str(storage), driver="overlay") as opened:
        yield opened


def put_tree(store: Store, tar: Path, below: Sequence[LayerId]) -> LayerId:
    """Unpack a layer."""
    place = store.scratch.new()
    trees = [LayerTree.read(path) for path in store.layers.paths(below)]
    with open(tar, "rb") as stream:
        unpacked = unpack(stream, new_tree(place), below=trees)
    info = finish_draft(place, unpacked.owners, unpacked.diff_id)
    return store.layers.add(place, os.urandom(10).hex(), info)


def is_utf8(entry: Entry) -> bool:
    return not any(odd in repr(entry) for odd in ("\\udcff", "\\xff", "\xff"))


NOISE = random.Random(1)
CONTENTS = [
    file("noise", NOISE.randbytes(1_500_000) + bytes(300_000) + NOISE.randbytes(7)),
    file("zeros", bytes(200_000)),
]


Made = tuple[Descriptor, Path, bytes]  # a blob, its file, and its index if it is an ordinary gzip


def by_skopeo(place: Path, tars: Sequence[Path]) -> list[Made]:
    return [(*each, b"") for each in chunked(place, tars)]


def gzipped(place: Path, tars: Sequence[Path]) -> list[Made]:
    found = []
    for number, tar in enumerate(tars):
        blob = place / f"{number}.tar.gz"
        blob.write_bytes(gzip.compress(tar.read_bytes()))
        digest, size = Digest.of(blob.read_bytes()), blob.stat().st_size
        layer, diff_id = Descriptor(OCI_LAYER_GZIP, digest, size), str(Digest.of(tar.read_bytes()))
        with open(blob, "rb", buffering=0) as opened:
            index = b"".join(index_gzip(opened, layer, diff_id, Meter()))
        check_gzip_layer(bytes(blob), layer, diff_id, index)
        found.append((layer, blob, index))
    return found


def check(store: Store, tars: Sequence[Path], made: Sequence[Made]) -> None:
    trees: list[LayerId] = []
    blobs: list[LayerId] = []
    for tar, (layer, blob, index) in zip(tars, made, strict=True):
        blobs.append(put_blob(store, layer, blob, blobs, index))
        trees.append(put_tree(store, tar, trees))
    layers = store.layers
    pairs = [(layers.tree(o), layers.tree(n)) for o, n in zip(trees, blobs, strict=True)]
    assert differences(pairs) == []
    for old, new in zip(trees, blobs, strict=True):
        assert layers.owners(old) == layers.owners(new)
        assert layers.size(old) == layers.size(new)
        one, other = (Path(os.fsdecode(layers.path(layer).links)) for layer in (old, new))
        assert one.read_bytes() == other.read_bytes()
        # Neither loses anything on its way out.
        assert layers.diff_id(old) == layers.diff_id(new)


def test_skopeo_chunked(store: Store, tmp_path: Path) -> None:
    tars = []
    for number, entries in enumerate((LOWER, UPPER)):
        tar = tmp_path / f"{number}.tar"
        kept = [entry for entry in entries if is_utf8(entry)]
        tar.write_bytes(archive(*kept, *(CONTENTS if not number else ())).getvalue())
        tars.append(tar)
    check(store, tars, by_skopeo(tmp_path, tars))


def test_gzip(store: Store, tmp_path: Path) -> None:
    tars = [tmp_path / "lower", tmp_path / "upper"]
    tars[0].write_bytes(archive(*LOWER, *CONTENTS).getvalue())
    tars[1].write_bytes(archive(*UPPER).getvalue())
    check(store, tars, gzipped(tmp_path, tars))


def test_an_image(store: Store, busybox_tar: Path, tmp_path: Path) -> None:
    check(store, [busybox_tar], by_skopeo(tmp_path, [busybox_tar]))


# Blobs of LOWER as ctr-remote 0.14.3 makes them (`images convert`), with their descriptors.
STARGZ = Path(__file__).parent / "stargz"


def test_ctr_remote(store: Store, tmp_path: Path) -> None:
    pairs = []
    for form in ("whole", "chunks", "joined", "zstd"):
        layer = Descriptor.from_json(json.loads((STARGZ / f"{form}.json").read_text()))
        blob, tar = STARGZ / f"{form}.blob", tmp_path / form
        with open(blob, "rb", buffering=0) as packed:
            tar.write_bytes(open_decompressed(packed).read())
        in_place = check_blob_layer(bytes(blob), layer, str(Digest.of(tar.read_bytes())))
        assert are_in_place(table_of(layer, blob), in_place)
        tree, made = put_tree(store, tar, ()), put_blob(store, layer, blob)
        assert store.layers.owners(tree) == store.layers.owners(made)
        pairs.append((store.layers.tree(tree), store.layers.tree(made)))
    # Its table has whole seconds.
    found = differences(pairs)
    assert [line.partition(":")[0] for line in found] == ["b'd/hard'", "b'note'"] * len(pairs)
    assert all(line.count("mtime_ns=1600000000") == 2 for line in found)
