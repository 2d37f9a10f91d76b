"""Manifests, indexes and configurations that no honest registry has."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

from sundog.image.oci import media_types
from tests.hostile.case import Case, Json, image
from tests.image.pull.images import Layer, Shelf, for_platform

if TYPE_CHECKING:
    from collections.abc import Callable

DEEP = b"[" * 100_000
LONG = "9" * 5000
ESCAPES = "\x1b]0;owned\x07\x1b[2J\r\n\x9b31m\u202e"
ZEROS = "sha256:" + "0" * 64
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def _manifest(name: str, says: str, change: Callable[[Json], object] | bytes, **more: Any) -> Case:
    return Case(f"manifest-{name}", says, image(manifest=change), **more)


def _config(name: str, says: str, change: Callable[[Json], object] | bytes, **more: Any) -> Case:
    return Case(f"config-{name}", says, image(config=change), **more)


def _layer(name: str, says: str, **fields: object) -> Case:
    return _manifest(f"layer-{name}", says, lambda m: m["layers"][0].update(fields))


def _described(name: str, says: str, **fields: object) -> Case:
    return _manifest(f"config-{name}", says, lambda m: m["config"].update(fields))


def _inner(name: str, says: str, **fields: object) -> Case:
    return _config(name, says, lambda c: c["config"].update(fields))


def _with(*pieces: bytes) -> Callable[[Shelf], None]:
    """Return a function that makes ``a:1`` with text in its manifest that json could not write."""

    def put(shelf: Shelf) -> None:
        image()(shelf)
        content = shelf.blobs[shelf.tags["a:1"]]
        image(manifest=content[:-1] + b", " + b"".join(pieces) + b"}")(shelf)

    return put


def _foreign(name: str, says: str, *urls: object, **more: Any) -> Case:
    """A layer that is only elsewhere, or nowhere."""

    def put(shelf: Shelf) -> None:
        places = list(urls)
        image(lambda m: m["layers"][0].update(mediaType=FOREIGN, urls=places))(shelf)
        del shelf.blobs[shelf.base().descriptor["digest"]]

    return Case(f"foreign-{name}", says, put, **more)


MANIFESTS = (
    _manifest("empty", "manifest: not JSON", b""),
    _manifest("page", "manifest: not JSON", b"<html>Please log in</html>"),
    _manifest("list", "expected an object", b"[]"),
    _manifest("null", "expected an object", b"null"),
    _manifest("number", "expected an object", b"2"),
    _manifest("string", "expected an object", b'"manifest"'),
    _manifest("deep", "nested too deeply", DEEP),
    Case("manifest-deep-field", "nested too deeply", _with(b'"annotations": ', DEEP)),
    _manifest("no-utf-8", "manifest: not JSON", b'{"schemaVersion": 2, "x": "\xff\xfe\xfd"}'),
    _manifest("nul", "manifest: not JSON", b"\0" * 100),
    _manifest("cut", "manifest: not JSON", b'{"schemaVersion": 2, "config": {'),
    _manifest("trailing", "manifest: not JSON", b'{"schemaVersion": 2} {}'),
    Case("manifest-duplicate-keys", "", _with(b'"schemaVersion": 1, "schemaVersion": 2')),
    Case("manifest-duplicate-layers", "expected a list", _with(b'"layers": "x"')),
    Case("manifest-nan", "", _with(b'"x": NaN, "y": -Infinity, "z": 1e999')),
    Case("manifest-5000-digits", "manifest: not JSON", _with(b'"x": ', LONG.encode())),
    Case("manifest-unknown-fields", "", _with(b'"a": {"b": [1, null]}, "__proto__": {}')),
    Case("manifest-surrogate-key", "", _with(rb'"\ud800": "\udfff"')),
    _manifest("surrogate", "", lambda m: m.update(annotations={"a": "\ud800"})),
    _manifest("escapes", "", lambda m: m.update(annotations={ESCAPES: ESCAPES})),
    _manifest("version-text", "schemaVersion", lambda m: m.update(schemaVersion="2")),
    _manifest("version-true", "schema 1", lambda m: m.update(schemaVersion=True)),
    _manifest("version-3", "schemaVersion", lambda m: m.update(schemaVersion=3)),
    _manifest("version-none", "schemaVersion", lambda m: m.pop("schemaVersion")),
    _manifest("schema-1", "schema 1", b'{"schemaVersion": 1, "fsLayers": [], "history": []}'),
    _manifest("is-index-too", "both an image", lambda m: m.update(manifests=[])),
    _manifest("type-number", "mediaType: expected a string", lambda m: m.update(mediaType=5)),
    _manifest("type-escapes", "but it came as", lambda m: m.update(mediaType=ESCAPES)),
    _manifest("type-other", "but it came as", lambda m: m.update(mediaType=media_types.OCI_INDEX)),
    _manifest("type-unknown", "but it came as", lambda m: m.update(mediaType="x/y")),
    _manifest("huge", "more than 4194304 bytes", b" " * (5 << 20), floods=6 << 20),
    _manifest("annotation-list", "annotations", lambda m: m.update(annotations=[])),
    _manifest("annotation-number", "annotations", lambda m: m.update(annotations={"a": 1})),
    _manifest("subject", "subject", lambda m: m.update(subject={"digest": ZEROS})),
    _manifest("no-config", "config", lambda m: m.pop("config")),
    _manifest("config-null", "config", lambda m: m.update(config=None)),
    _manifest("config-list", "config", lambda m: m.update(config=[])),
    _described("digest-none", "config", digest=""),
    _described("digest-number", "digest: expected a string", digest=5),
    _described("digest-path", "config", digest="sha256:../../../../../../etc/passwd"),
    _described("digest-upper", "hexadecimal", digest="sha256:" + "A" * 64),
    _described("digest-md5", "unknown algorithm", digest="md5:" + "a" * 32),
    _described("digest-query", "hexadecimal", digest=f"sha256:{'0' * 60}?x=1"),
    _described("digest-escapes", "no algorithm", digest=ESCAPES.replace(":", "")),
    _described("size-negative", "is not a size", size=-1),
    _described("size-float", "a whole number", size=1.5),
    _described("size-bool", "a whole number", size=True),
    _described("size-text", "a whole number", size="12"),
    _described("size-none", "a whole number", size=None),
    _described("size-huge", "is not a size", size=1 << 63),
    _described("size-400-digits", "is not a size", size=10**400),
    _described("size-1-TiB", "are refused", size=1 << 40),
    _described("size-wrong", "more than 1 bytes, the manifest says 1", size=1),
    _described("type-of-layer", "not an image", mediaType=media_types.OCI_LAYER),
    _described("type-of-chart", "not an image", mediaType="application/vnd.cncf.helm.config.v1"),
    _described("type-escapes", "is not a media type", mediaType=ESCAPES),
    _manifest("no-layers", "layers", lambda m: m.pop("layers")),
    _manifest("layers-object", "layers", lambda m: m.update(layers={})),
    _manifest("layers-text", "layers", lambda m: m.update(layers="sha256")),
    _manifest("layers-none", "has 0 layers", lambda m: m.update(layers=[])),
    _manifest("layers-of-numbers", "layer 1: expected an object", lambda m: m.update(layers=[1])),
    _manifest("layers-more", "has 2 layers", lambda m: m["layers"].append(m["layers"][0])),
    _manifest("layers-20000", "more than 1000", lambda m: m.update(layers=m["layers"] * 20_000),
              floods=4 << 20),
    _layer("size-less", "more than 1 bytes", size=1),
    _layer("size-more", "bytes, the manifest says", size=1 << 20),
    _layer("size-exabytes", "bytes, the manifest says", size=1 << 62),
    _layer("size-none", "a whole number", size=None),
    _layer("digest-path", "layer 1", digest="sha256:/../../../x"),
    _layer("digest-missing", "not in registry", digest=ZEROS),
    _layer("type-unknown", "is not supported", mediaType="application/x-unknown"),
    _layer("type-page", "is not supported", mediaType="text/html"),
    _layer("type-zstd", "", mediaType=media_types.OCI_LAYER + "+zstd"),
    _layer("type-encrypted", "is not supported", mediaType=f"{media_types.OCI_LAYER}+encrypted"),
    _layer("urls-number", "urls", urls=[5]),
    _layer("urls-of-files", "", urls=["file:///etc/passwd", "http://[::1/"]),
    _layer("annotations", "annotations", annotations={"a": []}),
    _layer("platform-list", "platform", platform=[]),
    _layer("platform-number", "os", platform={"os": 5}),
    _manifest("layer-is-config", "layer 1/1", lambda m: m["layers"][0].update(m["config"],
              mediaType=media_types.OCI_LAYER_GZIP)),
)  # fmt: skip

FOREIGNERS = (
    _foreign("nowhere", "not in registry"),
    *(
        _foreign(name, "not an address", url)
        for name, url in {
            "file": "file:///etc/passwd",
            "ftp": "ftp://127.0.0.1/x",
            "unix": "unix:///run/x.sock",
            "data": "data:text/plain,x",
            "gopher": "gopher://127.0.0.1:70/x",
            "no-scheme": "//127.0.0.1/x",
            "path": "/etc/passwd",
            "unparsable": "http://[::1/",
            "no-host": "http:///x",
            "user": "http://localhost@127.0.0.1/",
            "port-99999": "http://127.0.0.1:99999/",
            "port-0": "http://127.0.0.1:0/",
            "port-text": "http://127.0.0.1:x/",
            "newline": "http://127.0.0.1/\r\nHost: x",
            "escapes": f"http://127.0.0.1/{ESCAPES}",
            "backslash": "http://127.0.0.1\\@127.0.0.2/",
            "hexadecimal": "http://0x7f.1/",
            "short": "http://127.1/",
            "decimal": "http://2130706433/",
            "zone": "http://[fe80::1%25lo]/",
            "dot": "http://localhost./",
            "wide": "http://\uff11\uff12\uff17.0.0.1/",
            "surrogate": "http://127.0.0.1/\ud800",
            "long": "http://127.0.0.1/" + "x" * 100_000,
            "empty": "",
        }.items()
    ),
    _foreign("many", "not an address", *["file:///x"] * 10_000),
)

CONFIGS = (
    _config("empty", "not JSON", b""),
    _config("list", "expected an object", b"[]"),
    _config("deep", "nested too deeply", DEEP),
    _config("no-utf-8", "not JSON", b'{"architecture": "\xff"}'),
    _config("5000-digits", "not JSON", b'{"x": %s}' % LONG.encode()),
    _config("17-MiB", "are refused", b" " * (17 << 20)),
    _config("is-manifest", "architecture: missing",
            b'{"schemaVersion": 2, "rootfs": {"diff_ids": ["%s"]}}' % ZEROS.encode()),
    _config("architecture-none", "architecture: missing", lambda c: c.pop("architecture")),
    _config("architecture-number", "architecture", lambda c: c.update(architecture=64)),
    _config("architecture-escapes", "not a platform", lambda c: c.update(architecture=ESCAPES)),
    _config("os-windows", "only images for Linux", lambda c: c.update(os="windows")),
    _config("os-escapes", "only images for Linux", lambda c: c.update(os=ESCAPES)),
    _config("variant-escapes", "not a platform", lambda c: c.update(variant=ESCAPES)),
    _config("variant-list", "variant", lambda c: c.update(variant=[])),
    _config("no-rootfs", "names 0", lambda c: c.pop("rootfs")),
    _config("rootfs-list", "rootfs", lambda c: c.update(rootfs=[])),
    _config("diff-ids-none", "names 0", lambda c: c["rootfs"].update(diff_ids=[])),
    _config("diff-ids-more", "names 2", lambda c: c["rootfs"].update(diff_ids=[ZEROS] * 2)),
    _config("diff-ids-number", "diff_ids", lambda c: c["rootfs"].update(diff_ids=[5])),
    _config("diff-id-wrong", "the configuration says", lambda c: c["rootfs"].update(
        diff_ids=[ZEROS])),
    _config("diff-id-path", "digest", lambda c: c["rootfs"].update(diff_ids=["../../../x"])),
    _config("diff-id-newline", "digest", lambda c: c["rootfs"].update(diff_ids=[ZEROS + "\n"])),
    _config("history-object", "history", lambda c: c.update(history={})),
    _config("history-numbers", "expected an object", lambda c: c.update(history=[1])),
    _config("history-escapes", "", lambda c: c.update(history=[{"created_by": ESCAPES}] * 3)),
    _config("history-surrogate", "", lambda c: c.update(history=[{"created_by": "\ud800"}])),
    _config("history-50000", "", lambda c: c.update(history=[{"comment": "x"}] * 50_000),
            floods=4 << 20),
    _config("created-list", "created", lambda c: c.update(created=[])),
    _config("created-year-0", "", lambda c: c.update(created="0000-00-00T99:99:99Z" + ESCAPES)),
    _config("config-list", "config", lambda c: c.update(config=[])),
    _inner("env-text", "", Env="A=b"),
    _inner("env-numbers", "Env", Env=[1]),
    _inner("env-nul", "", Env=["A=b\0c"]),
    _inner("env-newline", "", Env=["A=b\nLD_PRELOAD=/x", "=", "", "A", "\n=x"]),
    _inner("env-surrogate", "not text in the image's configuration", Env=["A=\udc80", "B=\ud800"]),
    _inner("env-many", "", Env=[f"V{n}=x" for n in range(20_000)]),
    _inner("directory-nul", "NUL", WorkingDir="/a\0b"),
    _inner("directory-up", "", WorkingDir="../../../../etc"),
    _inner("directory-escapes", "", WorkingDir=f"/{ESCAPES}"),
    _inner("directory-number", "WorkingDir", WorkingDir=5),
    _inner("user-list", "User", User=["root"]),
    _inner("user-escapes", "", User=ESCAPES),
    _inner("entrypoint-numbers", "Entrypoint", Entrypoint=[1]),
    _inner("entrypoint-nul", "NUL", Entrypoint=["a\0b"]),
    _inner("cmd-object", "Cmd", Cmd={}),
    _inner("labels-list", "Labels", Labels=[]),
    _inner("labels-numbers", "Labels", Labels={"a": 1}),
    _inner("labels-surrogate", "", Labels={"\ud800": "\udfff"}),
    _inner("labels-escapes", "", Labels={ESCAPES: ESCAPES}),
    _inner("volumes-list", "Volumes", Volumes=[]),
    _inner("volumes-up", "", Volumes={"/../../../x": {}, "": {}, "\0": {}, "x\n": {}}),
    _inner("ports-text", "ExposedPorts", ExposedPorts="80"),
    _inner("on-build-number", "OnBuild", OnBuild=[5]),
    _inner("shell-number", "Shell", Shell=5),
    _inner("health-list", "Healthcheck", Healthcheck=[]),
)  # fmt: skip


def _index(change: Callable[[Json, Json], object]) -> Callable[[Shelf], None]:
    """Return a function that makes ``a:1`` an index of one good entry, changed."""

    def put(shelf: Shelf) -> None:
        image()(shelf)
        content = shelf.blobs[shelf.tags["a:1"]]
        entry = for_platform(shelf.blob(content, media_types.OCI_MANIFEST), "amd64")
        value = {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": [entry],
        }
        change(value, entry)
        shelf.tags["a:1"] = shelf.document(value, media_types.OCI_INDEX)["digest"]

    return put


def _entry(name: str, says: str, **fields: object) -> Case:
    return Case(f"index-entry-{name}", says, _index(lambda _, entry: entry.update(fields)))


def _nested(shelf: Shelf) -> None:
    image()(shelf)
    content = shelf.blobs[shelf.tags["a:1"]]
    entry = shelf.blob(content, media_types.OCI_MANIFEST)
    for _ in range(6):
        entry = shelf.index(entry, tag="a:1")


INDEXES = (
    Case("index-empty", "requested arch unavailable", _index(lambda i, _: i.update(manifests=[]))),
    Case("index-object", "manifests", _index(lambda i, _: i.update(manifests={}))),
    Case("index-null", "manifests", _index(lambda i, _: i.update(manifests=None))),
    Case("index-numbers", "entry 1", _index(lambda i, _: i.update(manifests=[1]))),
    Case("index-no-digest", "entry 1", _index(lambda _, entry: entry.pop("digest"))),
    Case("index-annotations", "annotations", _index(lambda i, _: i.update(annotations=5))),
    Case("index-nested", "indexes in indexes", _nested),
    Case("index-20000", "", _index(lambda i, e: i.update(manifests=[e] * 10_000)), floods=8 << 20),
    _entry("digest-path", "entry 1", digest="sha256:../x"),
    _entry("digest-missing", "not in registry", digest=ZEROS),
    _entry("size-negative", "is not a size", size=-5),
    _entry("type-layer", "", mediaType=media_types.OCI_LAYER),
    _entry("platform-text", "platform", platform="linux/amd64"),
    _entry("platform-number", "architecture", platform={"os": "linux", "architecture": 5}),
    _entry("platform-escapes", "unavailable", platform={"os": ESCAPES, "architecture": ESCAPES}),
    _entry("platform-other", "unavailable", platform={"os": "linux", "architecture": "s390x"}),
    _entry("platform-unknown", "unavailable", platform={"os": "unknown",
           "architecture": "unknown"}),
    _entry("platform-empty", "", platform={}),
    _entry("data", "", data="AAAA"),
)  # fmt: skip


def _bomb(shelf: Shelf) -> None:
    """Make a layer that is a page of zeros, and not a tar."""
    raw = bytes(1 << 20)
    layer = Layer(shelf.blob(gzip.compress(raw), media_types.OCI_LAYER_GZIP), shelf.base().diff_id)
    shelf.image(layer, tag="a:1")


def _same_layer_twice(shelf: Shelf) -> None:
    shelf.image(shelf.base(), shelf.base(), tag="a:1")


def _same_layer_often(shelf: Shelf) -> None:
    shelf.image(*[shelf.base()] * 2000, tag="a:1")


def _one_blob_two_ids(shelf: Shelf) -> None:
    layer = shelf.base()
    shelf.image(layer, Layer(layer.descriptor, ZEROS), tag="a:1")


def _byte_order_mark(shelf: Shelf) -> None:
    image()(shelf)
    content = shelf.blobs[shelf.tags["a:1"]]
    image(manifest=b"\xef\xbb\xbf" + content)(shelf)


def _utf_16(shelf: Shelf) -> None:
    image()(shelf)
    value = json.loads(shelf.blobs[shelf.tags["a:1"]])
    image(manifest=json.dumps(value).encode("utf-16"))(shelf)


LAYERS = (
    Case("layer-of-zeros", "layer 1/1", _bomb),
    Case("layer-twice", "", _same_layer_twice),
    Case("layer-2000-times", "more than 1000", _same_layer_often, floods=4 << 20),
    Case("layer-with-two-ids", "the configuration says", _one_blob_two_ids),
    Case("manifest-byte-order-mark", "", _byte_order_mark),
    Case("manifest-utf-16", "", _utf_16),
)

CASES = (*MANIFESTS, *FOREIGNERS, *CONFIGS, *INDEXES, *LAYERS)
