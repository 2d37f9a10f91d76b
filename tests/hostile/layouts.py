"""Hostile archives of OCI layouts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.hostile.cases import (
    BASE_LAYER,
    DEEP,
    OCI,
    Case,
    Layout,
    digest_of,
    link,
    oci,
    plain_tar,
)

if TYPE_CHECKING:
    from collections.abc import Callable

UP = "../" * 40


def manifest_of(**changes: object) -> Callable[[], bytes]:
    return oci(lambda layout: layout.manifest.update(changes))


def index_of(**changes: object) -> Callable[[], bytes]:
    return oci(late=lambda layout: layout.index.update(changes))


def described(**changes: object) -> Callable[[], bytes]:
    return oci(late=lambda layout: layout.index["manifests"][0].update(changes))


def layer_of(**changes: object) -> Callable[[], bytes]:
    return oci(lambda layout: layout.manifest["layers"][0].update(changes))


def config_of(**changes: object) -> Callable[[], bytes]:
    return oci(lambda layout: layout.manifest["config"].update(changes))


def nested(depth: int) -> Callable[[], bytes]:
    def late(layout: Layout) -> None:
        for _ in range(depth):
            content = json.dumps(layout.index).encode()
            entry = layout.index["manifests"][0]
            layout.index = {
                "schemaVersion": 2,
                "manifests": [
                    {
                        "mediaType": f"{OCI}index.v1+json",
                        **layout.put(content),
                        "annotations": entry.get("annotations", {}),
                    }
                ],
            }

    return oci(late=late)


def spoil_layer(layout: Layout) -> None:
    digest = digest_of(BASE_LAYER)
    layout.blobs[digest] = layout.blobs[digest][:-1] + b"x"


def lose_layer(layout: Layout) -> None:
    del layout.blobs[digest_of(BASE_LAYER)]


def link_layer(layout: Layout) -> None:
    digest = digest_of(BASE_LAYER)
    del layout.blobs[digest]
    layout.links.append(link("blobs/" + digest.replace(":", "/"), "/etc/passwd"))


OCI_ARCHIVES = [
    Case(
        "another version",
        oci(late=lambda layout: setattr(layout, "layout", {"imageLayoutVersion": "2.0"})),
        "version '2.0' is not supported",
    ),
    Case(
        "a version that is a number",
        oci(late=lambda layout: setattr(layout, "layout", {"imageLayoutVersion": 1})),
        "expected a string",
    ),
    Case(
        "a layout that is a list",
        oci(late=lambda layout: setattr(layout, "layout", [])),
        "expected an object",
    ),
    Case(
        "no index",
        lambda: plain_tar({"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}),
        "index.json is not there",
    ),
    Case("an index of nothing", index_of(manifests=[]), "it contains no image"),
    Case("an index without manifests", index_of(manifests=None), "manifests"),
    Case(
        "an index whose manifests are a number", index_of(manifests=1), "manifests: expected a list"
    ),
    Case("an index of numbers", index_of(manifests=[1]), "expected an object"),
    Case("an index of another schema", index_of(schemaVersion=1), "schema"),
    Case(
        "a deep index", oci(late=lambda layout: setattr(layout, "index", DEEP)), "nested too deeply"
    ),
    Case(
        "an index that says it is a manifest",
        index_of(mediaType=f"{OCI}manifest.v1+json"),
        "manifest",
    ),
    Case(
        "an index that is a manifest too",
        index_of(config={}, layers=[]),
        "both an image manifest and an index",
    ),
    Case("a digest that leads out", described(digest=f"sha256:{UP}etc/passwd"), "digest"),
    Case("a digest of an unknown algorithm", described(digest="rot13:" + "0" * 64), "digest"),
    Case("a digest that is a number", described(digest=7), "digest"),
    Case("a size that is wrong", described(size=7), "bytes, the manifest says 7"),
    Case("a size that is negative", described(size=-1), "-1 is not a size"),
    Case("a size that is a fraction", described(size=1.5), "expected a whole number"),
    Case("a size that is true", described(size=True), "expected a whole number"),
    Case("a size of 400 digits", described(size=10**400), "is not a size"),
    Case("annotations that are a list", described(annotations=[]), "annotations"),
    Case("annotations of numbers", described(annotations={"a": 1}), "annotations"),
    Case(
        "a name that leads out",
        described(annotations={"org.opencontainers.image.ref.name": "../../x:1"}),
        holds={"etc/motd": b"hello\n"},
    ),
    Case("an unknown media type", described(mediaType="text/html"), "it contains no image"),
    Case("a manifest that is an index", described(mediaType=f"{OCI}index.v1+json"), "manifest: "),
    Case("indexes five deep", nested(5), "indexes in indexes"),
    Case(
        "a manifest that was changed",
        oci(
            late=lambda layout: layout.blobs.update(
                {
                    digest_of(json.dumps(layout.manifest).encode()): b"x"
                    * len(json.dumps(layout.manifest))
                }
            )
        ),
        "digest",
    ),
    Case(
        "a manifest of a layout that is no JSON",
        oci(lambda layout: setattr(layout, "manifest", b"hello")),
        "not JSON",
    ),
    Case(
        "a deep manifest of a layout",
        oci(lambda layout: setattr(layout, "manifest", DEEP)),
        "nested too deeply",
    ),
    Case("a manifest without layers", manifest_of(layers=None), "layers: expected a list"),
    Case("a manifest without a configuration", manifest_of(config=None), "config"),
    Case("a manifest with an index's list", manifest_of(manifests=[]), "manifest"),
    Case(
        "a manifest of another type", manifest_of(mediaType=f"{OCI}index.v1+json"), "but it came as"
    ),
    Case("a manifest of 5 MiB", manifest_of(annotations={"a": "x" * (5 << 20)}), "is longer than"),
    Case("a manifest of old", manifest_of(schemaVersion=1), "schema"),
    Case(
        "a configuration of another type", config_of(mediaType="application/x-helm"), "not an image"
    ),
    Case(
        "a configuration that is not in the layout",
        config_of(digest="sha256:" + "0" * 64),
        "is not there",
    ),
    Case("a configuration with a wrong size", config_of(size=1), "bytes, the manifest says 1"),
    Case("a layer of an unknown type", layer_of(mediaType="application/zip"), "is not supported"),
    Case(
        "an encrypted layer",
        layer_of(mediaType=f"{OCI}layer.v1.tar+gzip+encrypted"),
        "is not supported",
    ),
    Case("a layer with a wrong size", layer_of(size=1), "the manifest says 1"),
    Case("a layer of a size of exabytes", layer_of(size=1 << 62), "the manifest says"),
    Case("a layer whose digest leads out", layer_of(digest=f"sha256:{UP}etc/passwd"), "digest"),
    Case("a layer that was changed", oci(late=spoil_layer), "digest"),
    Case("a layer that was lost", oci(late=lose_layer), "is not there"),
    Case("a layer that is a link out of the layout", oci(late=link_layer), "is not there"),
    Case(
        "a layer that is to be had elsewhere",
        layer_of(
            mediaType=f"{OCI}layer.nondistributable.v1.tar",
            digest="sha256:" + "1" * 64,
            urls=["file:///etc/passwd"],
        ),
        "only other hosts have it",
    ),
    Case(
        "a layer that says it is gzip",
        layer_of(mediaType=f"{OCI}layer.v1.tar+gzip"),
        holds={"etc/motd": b"hello\n"},
    ),
    Case(
        "layers of other numbers",
        oci(lambda layout: layout.config["rootfs"].update(diff_ids=[])),
        "names 0",
    ),
    Case(
        "1,001 layers in a layout",
        oci(
            lambda layout: (
                layout.manifest.update(layers=layout.manifest["layers"] * 1001),
                layout.config["rootfs"].update(diff_ids=layout.config["rootfs"]["diff_ids"] * 1001),
            )
        ),
        "an image of 1001 layers: more than 1,000",
    ),
    Case(
        "a layout for another machine",
        oci(late=lambda layout: layout.index["manifests"].clear()),
        "it contains no image",
    ),
]

LAYOUTS = [replace(case, command="load") for case in OCI_ARCHIVES]
