"""Manifests, indexes and descriptors: read by the specification, or refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.errors import DocumentError, ManifestError, PlatformUnavailable
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.oci.index import Index
from sundog.image.oci.manifest import MANIFEST_SIZE_LIMIT, Manifest, document_media_type
from sundog.image.oci.media_types import (
    CONFIGS,
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    LAYERS,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
)
from sundog.image.oci.platform import Platform

DIGEST = Digest.of(b"content")


def descriptor(media_type: str = OCI_LAYER_GZIP, **more: object) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(DIGEST), "size": 7, **more}


def manifest(**more: object) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG),
        "layers": [descriptor(), descriptor()],
        **more,
    }


def entry(platform: str | None = None, size: int = 7) -> dict[str, Any]:
    if platform is None:
        return descriptor(OCI_MANIFEST, size=size)
    os, architecture, variant = (*platform.split("/"), "")[:3]
    value = {"os": os, "architecture": architecture}
    if variant:
        value["variant"] = variant
    return descriptor(OCI_MANIFEST, size=size, platform=value)


def index(*entries: dict[str, Any]) -> Index:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return Index.from_json(json.dumps(document).encode())


def text(value: object) -> bytes:
    return json.dumps(value).encode()


def test_manifest_is_read_and_written_back() -> None:
    document = manifest(annotations={"a": "b"}, subject=descriptor(OCI_MANIFEST), more=[1])
    read = Manifest.from_json(text(document))
    assert read.config == Descriptor(OCI_CONFIG, DIGEST, 7)
    assert read.layers == (Descriptor(OCI_LAYER_GZIP, DIGEST, 7),) * 2
    assert read.subject == Descriptor(OCI_MANIFEST, DIGEST, 7)
    assert json.loads(read.to_bytes()) == document


def test_docker_manifest_is_read() -> None:
    document = manifest(mediaType=DOCKER_MANIFEST, config=descriptor(DOCKER_CONFIG))
    document["layers"] = [descriptor(DOCKER_LAYER_GZIP, urls=["https://elsewhere.example/x"])]
    read = Manifest.from_json(text(document), DOCKER_MANIFEST)
    assert read.media_type == DOCKER_MANIFEST
    assert read.config.media_type in CONFIGS
    assert read.layers[0].media_type in LAYERS
    assert read.layers[0].urls == ("https://elsewhere.example/x",)


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("", OCI_MANIFEST),
        ("application/json", OCI_MANIFEST),
        (f"{OCI_MANIFEST}; charset=utf-8", OCI_MANIFEST),
        (DOCKER_MANIFEST, DOCKER_MANIFEST),
    ],
)
def test_manifest_that_does_not_say_what_it_is(declared: str, kind: str) -> None:
    document = manifest()
    del document["mediaType"]
    assert document_media_type(text(document), declared) == kind
    assert Manifest.from_json(text(document), declared).media_type == kind


@pytest.mark.parametrize(
    ("document", "declared", "complaint"),
    [
        (b"<html>", "", "not JSON"),
        (b"[" * 100_000, "", "nested too deeply"),
        (b"\xff", "", "not JSON"),
        (b"[]", "", "expected an object, found a list"),
        (b" " * MANIFEST_SIZE_LIMIT + b"{}", "", "more than"),
        (text({}), "", "schemaVersion: expected 2, found None"),
        (text({"schemaVersion": 3}), "", "schemaVersion: expected 2, found 3"),
        (text({"schemaVersion": 1, "fsLayers": []}), "", "schema 1"),
        (text(manifest()), DOCKER_MANIFEST, "but it came as"),
        (text(manifest(mediaType="text/plain")), "", "neither manifest nor index"),
        (text(manifest(manifests=[])), "", "both"),
        (text(manifest(mediaType=OCI_INDEX)), "", "expected an image manifest"),
        (text(manifest(mediaType=7)), "", "mediaType: expected a string, found a number"),
        (text(manifest(config=None)), "", "config: expected an object, found null"),
        (text(manifest(layers=None)), "", "layers: expected a list, found null"),
        (text(manifest(layers=[{}])), "", "layer 1: mediaType: '' is not a media type"),
        (text(manifest(layers=[descriptor("no type")])), "", "is not a media type"),
        (text(manifest(layers=[descriptor(), descriptor(size=-1)])), "", "layer 2: size: -1"),
        (text(manifest(layers=[descriptor(size=1 << 63)])), "", "is not a size"),
        (text(manifest(layers=[descriptor(size="7")])), "", "size: expected a whole number"),
        (text(manifest(layers=[descriptor(size=True)])), "", "size: expected a whole number"),
        (text(manifest(layers=[descriptor(size=7.5)])), "", "size: expected a whole number"),
        (text(manifest(layers=[descriptor(digest="sha256:00")])), "", "hexadecimal digits"),
        (text(manifest(layers=[descriptor(digest="md5:00")])), "", "unknown algorithm"),
        (text(manifest(layers=[descriptor(urls=[1])])), "", "urls: expected a list of strings"),
        (text(manifest(annotations={"a": 1})), "", "annotations: a: expected a string"),
    ],
)
def test_bad_manifest_is_refused(document: bytes, declared: str, complaint: str) -> None:
    with pytest.raises(ManifestError) as caught:
        Manifest.from_json(document, declared)
    assert complaint in caught.value.message
    assert "\n" not in caught.value.message


def test_manifest_is_no_index() -> None:
    with pytest.raises(ManifestError, match="expected an index"):
        Index.from_json(text(manifest()))


def test_index_without_entries_is_an_index() -> None:
    assert index().manifests == ()
    with pytest.raises(ManifestError, match="manifests: expected a list, found null"):
        Index.from_json(text({"schemaVersion": 2, "mediaType": OCI_INDEX}))


def test_docker_list_is_read_and_written_back() -> None:
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_INDEX,
        "manifests": [entry("linux/arm/v7"), entry("linux/amd64"), entry()],
        "annotations": {"a": "b"},
    }
    read = Index.from_json(text(document), DOCKER_INDEX)
    assert read.platforms == [Platform("linux", "arm", "v7"), Platform("linux", "amd64")]
    assert json.loads(read.to_bytes()) == document


AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")


@pytest.mark.parametrize(
    ("platform", "entries", "chosen"),
    [
        (AMD64, ["linux/arm64/v8", "linux/amd64"], 1),
        (AMD64, ["windows/amd64", "linux/amd64"], 1),
        (AMD64, ["linux/amd64/v3", "linux/amd64"], 1),
        (AMD64, ["linux/amd64/v1"], 0),
        (AMD64, ["linux/x86_64"], 0),
        (AMD64, ["linux/amd64", "linux/amd64"], 0),
        (AMD64, [None, "linux/amd64"], 1),
        (AMD64, [None], 0),
        (AMD64, ["unknown/unknown", "linux/amd64"], 1),
        (Platform("linux", "amd64", "v3"), ["linux/amd64", "linux/amd64/v2"], 1),
        (Platform("linux", "amd64", "v3"), ["linux/amd64/v4", "linux/amd64"], 1),
        (ARM64, ["linux/arm/v7", "linux/arm64/v8"], 1),
        (ARM64, ["linux/arm64/v9", "linux/arm64"], 1),
        (Platform("linux", "arm64", "v8.1"), ["linux/arm64/v9", "linux/arm64"], 1),
        (Platform("linux", "arm", "v7"), ["linux/arm/v5", "linux/arm/v6", "linux/arm64"], 1),
        (Platform("linux", "arm", "v7"), ["linux/arm/v6", "linux/arm"], 1),
    ],
)
def test_select(platform: Platform, entries: list[str | None], chosen: int) -> None:
    made = index(*(entry(text, size) for size, text in enumerate(entries)))
    assert made.select(platform).size == chosen


@pytest.mark.parametrize(
    ("platform", "entries", "available"),
    [
        (AMD64, ["linux/arm64", "linux/arm/v6", "unknown/unknown"], "linux/arm64, linux/arm/v6"),
        (AMD64, ["linux/amd64/v2"], "linux/amd64/v2"),
        (Platform("linux", "arm", "v6"), ["linux/arm/v7"], "linux/arm/v7"),
        (ARM64, ["linux/arm64/v9"], "linux/arm64/v9"),
        (AMD64, [], "nothing"),
    ],
)
def test_select_what_is_not_there(platform: Platform, entries: list[str], available: str) -> None:
    with pytest.raises(PlatformUnavailable) as caught:
        index(*map(entry, entries)).select(platform)
    assert caught.value.message == f"requested arch unavailable: {platform}"
    assert caught.value.hint == f"available: {available}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.sampled_from(
        [
            "config",
            "layers",
            "mediaType",
            "schemaVersion",
            "annotations",
            "subject",
            "urls",
            "platform",
        ]
    ),
    JSON,
)
def test_no_value_of_a_field_is_more_than_an_error(key: str, value: object) -> None:
    for document in (manifest(**{key: value}), manifest(layers=[{**descriptor(), key: value}])):
        try:
            read = Manifest.from_json(text(document))
        except DocumentError:
            continue
        assert Manifest.from_json(read.to_bytes()) == read


@given(st.binary())
def test_no_document_is_more_than_an_error(source: bytes) -> None:
    for kind in (Manifest, Index):
        with pytest.raises(ManifestError):
            kind.from_json(source)
