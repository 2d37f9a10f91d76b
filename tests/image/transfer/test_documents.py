"""The outside of an image: its documents, history, times and media types."""

import json
from dataclasses import replace

import pytest

from sundog.errors import UsageError
from sundog.image.oci.config import HistoryEntry, ImageConfig
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.oci.media_types import (
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_LAYER_ZSTD,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
)
from sundog.image.oci.platform import Platform
from sundog.image.store.layer_info import LayerBlob, LayerInfo
from sundog.image.transfer.documents import leaving_image, stays_where_it_is
from sundog.image.transfer.packing import Packing

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def blob(media_type: str = OCI_LAYER_GZIP, **more: object) -> LayerBlob:
    descriptor = Descriptor(media_type, Digest.of(b"x"), 1, **more)  # type: ignore[arg-type]
    return LayerBlob(descriptor, str(Digest.of(b"diff")))


def test_documents_lead_to_each_other() -> None:
    leaving = leaving_image(ImageConfig(architecture="s390x", diff_ids=("",)), [blob(), blob()])
    assert leaving.descriptor.digest == Digest.of(leaving.content)
    assert leaving.manifest.config.digest == Digest.of(leaving.config)
    assert leaving.manifest.config.size == len(leaving.config)
    assert leaving.descriptor.platform == Platform("linux", "s390x")
    config = json.loads(leaving.config)
    assert config["rootfs"]["diff_ids"] == list(leaving.diff_ids) == [str(Digest.of(b"diff"))] * 2
    assert leaving.is_oci


def test_image_without_architecture_gets_this_machines() -> None:
    leaving = leaving_image(ImageConfig(), [])
    assert leaving.descriptor.platform == Platform.of_host()


@pytest.mark.parametrize(
    ("empty", "layers", "fits"),
    [
        ([False, True, False], 2, True),
        ([], 0, True),
        ([True], 0, True),
        ([False, True], 2, False),
        ([False, False], 1, False),
        ([], 1, False),
    ],
)
def test_as_many_entries_as_layers(empty: list[bool], layers: int, fits: bool) -> None:
    history = tuple(HistoryEntry(created_by=str(n), empty_layer=e) for n, e in enumerate(empty))
    leaving = leaving_image(ImageConfig(history=history), [blob()] * layers)
    made = ImageConfig.from_json(leaving.config).history
    assert sum(not entry.empty_layer for entry in made) == layers
    assert [entry.created_by for entry in made if entry.created_by] == [
        e.created_by for e in history
    ]
    assert (made == history) is fits


@pytest.mark.parametrize(
    ("created", "clamped"),
    [
        ("2001-09-09T01:46:39Z", "2001-09-09T01:46:39Z"),
        ("2001-09-09T03:46:40.5+02:00", "2001-09-09T01:46:40Z"),
        ("2026-01-01T00:00:00.123456789Z", "2001-09-09T01:46:40Z"),
        ("2000-01-01T00:00:00", "2001-09-09T01:46:40Z"),
        ("yesterday", "2001-09-09T01:46:40Z"),
        ("", ""),
    ],
)
def test_times_are_clamped(created: str, clamped: str) -> None:
    config = ImageConfig(created=created, history=(HistoryEntry(created=created),))
    made = ImageConfig.from_json(leaving_image(config, [blob()], 1_000_000_000).config)
    assert (made.created, made.history[0].created) == (clamped, clamped)
    unclamped = ImageConfig.from_json(leaving_image(config, [blob()]).config)
    assert unclamped.created == created


@pytest.mark.parametrize(
    ("came", "leaves"),
    [
        (DOCKER_LAYER, OCI_LAYER),
        (DOCKER_LAYER_GZIP, OCI_LAYER_GZIP),
        (DOCKER_LAYER_ZSTD, OCI_LAYER_ZSTD),
        (OCI_LAYER_ZSTD, OCI_LAYER_ZSTD),
        (FOREIGN, "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
    ],
)
def test_types_are_ocis(came: str, leaves: str) -> None:
    (layer,) = leaving_image(ImageConfig(), [blob(came, annotations={"a": "b"})]).manifest.layers
    assert layer.media_type == leaves
    assert layer.annotations == {"a": "b"}


def test_foreign_layers_stay_where_they_are() -> None:
    urls = ("https://elsewhere.example/x",)
    assert stays_where_it_is(blob(FOREIGN, urls=urls).descriptor)
    assert not stays_where_it_is(blob(FOREIGN).descriptor)
    assert not stays_where_it_is(blob(urls=urls).descriptor)
    (layer,) = leaving_image(ImageConfig(), [blob(FOREIGN, urls=urls)]).manifest.layers
    assert layer.urls == urls
    (layer,) = leaving_image(ImageConfig(), [blob(urls=urls)]).manifest.layers
    assert layer.urls == ()


def test_packing_that_is_asked_for() -> None:
    assert Packing.choose("zstd", {"SOURCE_DATE_EPOCH": "12"}) == Packing("zstd", 12)
    assert Packing.choose("none", {}).made == "none"
    assert Packing("gzip").made != Packing("gzip", 1).made != Packing("zstd", 1).made
    ways = [Packing("estargz", first=each) for each in (None, (), (b"a", b"b"), (b"ab",))]
    made = [way.made for way in ways]
    assert len({*made}) == len(made)
    # A layer that came leaves as it came, unless it has files that come first.
    came, foreign = blob(), blob(FOREIGN, urls=("https://elsewhere.example/x",))
    assert [way.takes(came) for way in ways] == [True, True, False, False]
    assert all(way.takes(foreign) for way in ways)
    info = LayerInfo()
    for way in made:
        digest = Digest.of(way.encode())
        descriptor = replace(came.descriptor, digest=digest)
        info = info.with_blob(replace(came, descriptor=descriptor, made=way))
    assert [known.made for known in info.blobs] == [made[0], made[-1]]  # the latest list
    for compression, epoch in (("lzma", ""), ("gzip", "-1"), ("gzip", "1.5"), ("gzip", "9" * 12)):
        with pytest.raises(UsageError):
            Packing.choose(compression, {"SOURCE_DATE_EPOCH": epoch})
