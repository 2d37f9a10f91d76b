"""Images whose manifest names an index of SOCI: they start by its zTOCs."""

import gzip
import io
import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from sundog.image.layer.gzip_index import index_gzip
from sundog.image.layer.limits import Meter
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.registry.soci import SOCI_ANNOTATION, SOCI_LAYER
from tests.conftest import runner
from tests.image.layer.ztocs import Number, Table, flat, ztoc
from tests.image.registry.servers import InProcessRegistry
from tests.image.registry.test_index_artifacts import (
    ASKED,
    DIGESTS,
    WHOLE,
    allow,
    check_later_pulls,
    seen,
    settings,
)
from tests.image.registry.test_lazy_images import Lazy, lazy, made, rewrite_index

__all__ = ["lazy", "made", "settings"]

pytestmark = pytest.mark.usefixtures("fuse")

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_MEMBERS, _MODE = 4, 5


def ztoc_of(blob: bytes) -> Table:
    tar = gzip.decompress(blob)
    layer = Descriptor("application/x", Digest.of(blob), len(blob))
    parts = index_gzip(io.BytesIO(blob), layer, str(Digest.of(tar)), Meter())
    return ztoc(tar, blob, b"".join(parts))


def put(registry: InProcessRegistry, name: str, document: dict[str, Any]) -> str:
    """Put a manifest into the registry; return its digest."""
    content = json.dumps(document).encode()
    digest = str(Digest.of(content))
    for key in (name or digest, digest):
        registry.manifests["r", key] = MANIFEST, content
    return digest


class Soci:
    """The image of gzips, with an index whose parts tests may change before ``publish``."""

    def __init__(self, lazy: Lazy) -> None:
        self.registry = lazy.registry
        self.image = json.loads(self.registry.manifests["r", "gzip"][1])
        self.named = ""
        self.index: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": "application/vnd.amazon.soci.index.v2+json",
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json",
                "digest": str(Digest.of(b"{}")),
                "size": 2,
            },
            "layers": [],
        }

    def add(self, change: Callable[[Table], Table] = lambda table: table) -> None:
        """Add the zTOCs of all layers that need one."""
        for layer in self.image["layers"][:2]:
            data = flat(change(ztoc_of(self.registry.blobs["r", layer["digest"]])))
            digest = str(Digest.of(data))
            self.registry.blobs["r", digest] = data
            described = {"mediaType": "application/octet-stream", "digest": digest}
            annotations = {SOCI_LAYER: layer["digest"]}
            self.index["layers"].append(
                {**described, "size": len(data), "annotations": annotations}
            )

    def publish(self) -> None:
        """Put the image into the registry, as ``r:soci``."""
        digest = put(self.registry, "", self.index)
        self.image["annotations"] = {SOCI_ANNOTATION: self.named or digest}
        put(self.registry, "soci", self.image)


@pytest.fixture
def soci(lazy: Lazy) -> Generator[Soci]:
    registry = lazy.registry
    before = dict(registry.manifests), dict(registry.blobs)
    registry.tells_digests = True
    yield Soci(lazy)
    registry.tells_digests = False
    for kept, old in zip((registry.manifests, registry.blobs), before, strict=True):
        kept.clear()  # type: ignore[attr-defined]
        kept.update(old)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("settings")
def test_a_start_by_it(lazy: Lazy, soci: Soci) -> None:
    soci.add()
    soci.publish()
    name = f"{lazy.name}:soci"
    assert "pulled whole: layer 3 (small)" in lazy.image("pull", "--lazy", name).stderr
    assert (lazy.incomplete, lazy.sent) == (2, [])
    assert lazy.registry.count(ASKED) == 0
    assert seen(lazy.storage, name) == DIGESTS
    assert not [*lazy.storage.glob("gzip-indexes/sha256-*")]
    check_later_pulls(lazy, name, digests_of(soci))


def test_the_first_source_counts(
    lazy: Lazy, soci: Soci, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Storage, a shared store, SOCI and a referrer have an index: none after the first is asked.

    Those of the shared store are other ones, so that they can be told apart.
    """
    registry, shared = lazy.registry, tmp_path / "shared"
    monkeypatch.setattr(registry, "lists_referrers", True)
    allow(settings, registry.host)
    soci.add()
    soci.publish()
    name = f"{lazy.name}:soci"
    maker = runner("ch-image", tmp_path / "maker")
    maker("index", "--push", name)
    maker("pull", name, "app")
    maker("publish", "app", shared)
    maker("unpublish", "app", shared)
    maker("publish", "--gc", "--grace", "0s", shared)  # the layers, so that none comes from there
    for path in shared.glob("gzip-indexes/*"):
        path.chmod(0o644)
        rewrite_index(path)
    lazy.image("index", name)
    named = [soci.image["annotations"][SOCI_ANNOTATION], *digests_of(soci)]

    def pulled(storage: Path, *options: str) -> tuple[set[bytes], bool, bool]:
        """Return the indexes of a pull, and whether SOCI's and referrers were asked for."""
        registry.requests.clear()
        runner("ch-image", storage)(*options, "pull", "--lazy", name)
        found = {path.read_bytes() for path in storage.glob("layers/*/spans")}
        asked = registry.count(f"GET .*({'|'.join(named)}).*"), registry.count(ASKED)
        return found, asked[0] > 0, asked[1] > 0

    own, published = (
        {path.read_bytes() for path in place.glob("gzip-indexes/sha256-*")}
        for place in (lazy.storage, shared)
    )
    assert (len(own), len(published), len(own & published)) == (2, 2, 0)
    store = f"--image-store={shared}"
    assert pulled(lazy.storage, store) == (own, False, False)
    assert pulled(tmp_path / "second", store) == (published, False, False)
    found, *asked = pulled(tmp_path / "third")
    assert (len(found - own - published), asked) == (2, [True, False])
    del registry.manifests["r", named[0]]
    assert pulled(tmp_path / "fourth") == (own, True, True)


def digests_of(soci: Soci) -> list[str]:
    return [each["digest"] for each in soci.index["layers"]]


def rubbish_name(soci: Soci) -> None:
    soci.add()
    soci.named = "x"


def another_name(soci: Soci) -> None:
    soci.add()
    soci.named = f"sha256:{'0' * 64}"


def another_content(soci: Soci) -> None:
    """Keep the digest."""
    soci.add()
    soci.named = put(soci.registry, "", soci.index)
    soci.registry.manifests["r", soci.named] = MANIFEST, json.dumps(soci.index, indent=1).encode()
    soci.index = {}


def huge(soci: Soci) -> None:
    soci.add()
    for each in soci.index["layers"]:
        each["size"] = 1 << 50


def other_bytes(soci: Soci) -> None:
    soci.add()
    for each in soci.index["layers"]:
        data = soci.registry.blobs["r", each["digest"]]
        soci.registry.blobs["r", each["digest"]] = data[:-1] + b"x"


def of_another_layer(soci: Soci) -> None:
    soci.add()
    for each in soci.index["layers"]:
        each["annotations"] = {}


def of_another_blob(soci: Soci) -> None:
    soci.add(lambda table: Table((*table.fields[:2], Number("<q", 5), *table.fields[3:])))


def without_members(soci: Soci) -> None:
    soci.add(lambda table: Table((*table.fields[:4], None, table.fields[5])))


REFUSED = [
    *(rubbish_name, another_name, another_content, huge, other_bytes, of_another_layer),
    *(of_another_blob, without_members),
]


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("damage", REFUSED)
def test_what_is_not_taken(lazy: Lazy, soci: Soci, damage: Callable[[Soci], None]) -> None:
    damage(soci)
    soci.publish()
    name = f"{lazy.name}:soci"
    assert WHOLE in lazy.image("pull", "--lazy", name).stderr
    assert lazy.incomplete == 0
    assert seen(lazy.storage, name) == DIGESTS


@pytest.mark.usefixtures("settings")
def test_members_that_lie(lazy: Lazy, soci: Soci) -> None:
    def lie(table: Table) -> Table:
        fields = [*table.fields]
        (toc,) = fields[_MEMBERS].fields  # type: ignore[attr-defined]
        changed = [
            Table((*each.fields[:_MODE], Number("<q", 0o4777), *each.fields[_MODE + 1 :]))
            for each in toc
        ]
        fields[_MEMBERS] = Table((changed,))
        return Table(tuple(fields))

    soci.add(lie)
    soci.publish()
    name = f"{lazy.name}:soci"
    lazy.image("pull", "--lazy", name)
    assert lazy.incomplete == 2
    done = lazy.image("pull", name, check=False)
    assert done.returncode == 1
    assert "its table of contents is not true" in done.stderr
    assert "1 (its table of contents is not true)" in lazy.image("pull", "--lazy", name).stderr
    assert seen(lazy.storage, name) == DIGESTS
