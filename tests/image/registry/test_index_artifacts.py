"""Indexes of gzip layers that a registry has: who may push them, and who believes them."""

import hashlib
import json
import urllib.request
from collections.abc import Callable, Collection, Generator
from pathlib import Path
from typing import Any

import pytest

from sundog.base.record.span_table import SPAN, SPANS_HEAD, SpanTable
from sundog.image.oci.manifest import MANIFEST_SIZE_LIMIT
from sundog.image.oci.media_types import OCI_INDEX
from sundog.image.registry.index_artifacts import INDEX_ARTIFACT, LAYER_ANNOTATION
from tests.conftest import Runner, runner
from tests.image.convert.blobs import NOISE, large_tars
from tests.image.registry.servers import InProcessRegistry
from tests.image.registry.test_lazy_images import Lazy, lazy, made, rewrite_index

__all__ = ["lazy", "made"]

pytestmark = pytest.mark.usefixtures("fuse")

DIGESTS = [hashlib.sha256(data).hexdigest() for data in (NOISE, NOISE[::-1])]
WHOLE = "pulled whole: layer 1 (no table of contents), 2 (no table of contents), 3 (small)"
ASKED = r"GET .*(referrers|sha256-).*"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of settings, which allows nothing."""
    path = tmp_path / "registries.conf"
    path.write_text("")
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(path))
    return path


def allow(settings: Path, host: str, value: str = "true") -> None:
    settings.write_text(f"[[registry]]\nlocation = '{host}'\nindex-referrers = {value}\n")


@pytest.fixture(params=[True, False], ids=["API", "tag"])
def pushed(
    request: pytest.FixtureRequest, lazy: Lazy, settings: Path, tmp_path: Path
) -> Generator[Lazy]:
    """Return a registry whose image has indexes, and another storage, which is empty."""
    registry = lazy.registry
    before = dict(registry.manifests)
    registry.lists_referrers, registry.tells_digests = request.param, True
    done = runner("ch-image", tmp_path / "maker")("index", "--push", f"{lazy.name}:gzip")
    assert "indexes of 2 layers" in done.stderr
    assert ("r", tag_of(registry)) not in registry.manifests or not request.param
    allow(settings, registry.host)
    registry.requests.clear()
    lazy.sent.clear()
    yield lazy
    registry.lists_referrers = registry.tells_digests = False
    registry.manifests.clear()
    registry.manifests.update(before)


def tag_of(registry: InProcessRegistry) -> str:
    """Return the tag under which a registry without the API lists referrers of the image."""
    return f"sha256-{hashlib.sha256(registry.manifests['r', 'gzip'][1]).hexdigest()}"


def artifacts(registry: InProcessRegistry) -> dict[tuple[str, str], dict[str, Any]]:
    found = {key: json.loads(content) for key, (_, content) in registry.manifests.items()}
    return {key: each for key, each in found.items() if each.get("artifactType") == INDEX_ARTIFACT}


def seen(storage: Path, name: str, mode: str = "ondemand") -> list[str]:
    """Return the digests of the large files of the image, as its programs read them."""
    done = runner("ch-run", storage)(
        *(name, "--", "sha256sum", "/noise", "/more"), env={"CH_RUN_LAZY": mode}, check=False
    )
    return [line.split()[0] for line in done.stdout.splitlines()]


def test_a_start_by_it(pushed: Lazy) -> None:
    name = f"{pushed.name}:gzip"
    told = pushed.image("pull", "--lazy", name, pushed.name).stderr
    assert "pulled whole: layer 3 (small)" in told
    assert pushed.incomplete == 2
    assert pushed.sent == []
    assert len(pushed.registry.requests) <= 10
    # It is nobody's own index: another image does not get it.
    assert not [*pushed.storage.glob("gzip-indexes/sha256-*")]
    assert seen(pushed.storage, pushed.name) == DIGESTS
    # The next pull finds what is here, before and after it is complete; no index comes again.
    check_later_pulls(pushed, name, indexes_of(pushed.registry))


def indexes_of(registry: InProcessRegistry) -> set[str]:
    """Return the digests of the indexes that the registry has."""
    found = artifacts(registry).values()
    return {layer["digest"] for artifact in found for layer in artifact["layers"]}


def check_later_pulls(lazy: Lazy, name: str, indexes: Collection[str]) -> None:
    """Pull an image that is not all here under other names; nothing comes twice."""

    def came() -> int:
        return sum(lazy.registry.count(f"GET .*/blobs/{digest}") for digest in indexes)

    assert came() == 2
    lazy.registry.requests.clear()
    lazy.sent.clear()
    assert "pulled whole" not in lazy.image("pull", "--lazy", name, "other").stderr
    assert (lazy.incomplete, lazy.sent, came()) == (2, [], 0)
    lazy.image("pull", name, "third")
    assert (lazy.incomplete, came()) == (0, 0)
    assert lazy.registry.count("GET .*/blobs/.*") == len(lazy.sent)  # in parts, so none as a whole
    lazy.registry.requests.clear()
    for words in (["--lazy", name, "fourth"], [name, "fifth"]):
        assert lazy.image("pull", *words).stderr.count("using existing layer") == 3
    assert lazy.registry.count("GET .*/blobs/.*") == 0
    assert seen(lazy.storage, "fifth") == DIGESTS


def test_who_is_not_allowed_is_not_asked(pushed: Lazy, settings: Path) -> None:
    name = f"{pushed.name}:gzip"
    for text in ("", f"[[registry]]\nlocation = '{pushed.registry.host}'\n"):
        settings.write_text(text)
        assert WHOLE in pushed.image("pull", "--lazy", name).stderr
        pushed.image("delete", name)
    allow(settings, pushed.registry.host, "false")
    assert WHOLE in pushed.image("pull", "--lazy", name).stderr
    assert pushed.registry.count(ASKED) == 0
    allow(settings, pushed.registry.host, "'yes'")
    done = pushed.image("pull", "--lazy", name, "x", check=False)
    assert done.returncode == 1
    assert "index-referrers: expected true or false, found a string" in done.stderr


def test_a_mirror_needs_its_own_permission(pushed: Lazy, settings: Path) -> None:
    registry = pushed.registry
    place = "[[registry]]\nlocation = 'registry.example.test'\nindex-referrers = true\n"
    place += f"[[registry.mirror]]\nlocation = '{registry.host}'\n"
    name = "registry.example.test/r:gzip"
    settings.write_text(place)
    told = pushed.image("pull", "--lazy", name).stderr
    assert registry.count(ASKED) == 0
    assert WHOLE in told
    pushed.image("delete", name)
    settings.write_text(f"{place}index-referrers = true\n")
    assert "pulled whole: layer 3 (small)" in pushed.image("pull", "--lazy", name).stderr


def test_a_second_push_changes_nothing(pushed: Lazy, tmp_path: Path) -> None:
    before = dict(pushed.registry.manifests)
    for storage in ("maker", "another"):
        runner("ch-image", tmp_path / storage)("index", "--push", f"{pushed.name}:gzip")
        assert pushed.registry.manifests == before
    assert pushed.registry.count("(POST|PATCH|PUT) .*blobs.*") == 0


def test_others_referrers_stay(pushed: Lazy, tmp_path: Path) -> None:
    """The index under the tag has an entry for each."""
    registry = pushed.registry
    key = ("r", tag_of(registry))
    if registry.lists_referrers:
        assert key not in registry.manifests
        return
    kind, content = registry.manifests[key]
    index = json.loads(content)
    (entry,) = index["manifests"]
    assert (entry["artifactType"], entry["size"]) == (
        INDEX_ARTIFACT,
        len(registry.manifests["r", entry["digest"]][1]),
    )
    other = {**entry, "digest": f"sha256:{'0' * 64}", "artifactType": "application/x", "x": 1}
    registry.manifests[key] = kind, json.dumps({**index, "manifests": [other]}).encode()
    runner("ch-image", tmp_path / "maker")("index", "--push", f"{pushed.name}:gzip")
    assert json.loads(registry.manifests[key][1])["manifests"] == [other, entry]


def forge(registry: InProcessRegistry, change: Callable[[dict[str, Any]], object]) -> None:
    """Replace the artifact by one that ``change`` has changed."""
    old = artifacts(registry)
    for key, artifact in old.items():
        del registry.manifests[key]
        change(artifact)
        content = json.dumps(artifact).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        registry.manifests["r", digest] = artifact["mediaType"], content
        tag = ("r", tag_of(registry))
        if tag in registry.manifests:
            kind, listed = registry.manifests[tag]
            listed = listed.replace(key[1].encode(), digest.encode())
            registry.manifests[tag] = kind, listed


def forge_indexes(registry: InProcessRegistry, change: Callable[[bytes], bytes]) -> None:
    def replaced(artifact: dict[str, Any]) -> None:
        for layer in artifact["layers"]:
            data = change(registry.blobs["r", layer["digest"]])
            layer["digest"] = f"sha256:{hashlib.sha256(data).hexdigest()}"
            layer["size"] = len(data)
            registry.blobs["r", layer["digest"]] = data

    forge(registry, replaced)


def other_bytes(registry: InProcessRegistry) -> None:
    """Keep the digest."""
    for artifact in artifacts(registry).values():
        for layer in artifact["layers"]:
            data = registry.blobs["r", layer["digest"]]
            registry.blobs["r", layer["digest"]] = data[:-1] + bytes((data[-1] ^ 1,))


def huge(registry: InProcessRegistry) -> None:
    forge(registry, lambda artifact: [each.update(size=1 << 50) for each in artifact["layers"]])


def of_another_image(registry: InProcessRegistry) -> None:
    forge(registry, lambda artifact: artifact["subject"].update(digest=f"sha256:{'0' * 64}"))


def of_another_layer(registry: InProcessRegistry) -> None:
    def swap(artifact: dict[str, Any]) -> None:
        for layer in artifact["layers"]:
            layer["annotations"][LAYER_ANNOTATION] = f"sha256:{'0' * 64}"

    forge(registry, swap)


def of_another_type(registry: InProcessRegistry) -> None:
    forge(registry, lambda artifact: artifact.update(artifactType="application/x"))


def not_there(registry: InProcessRegistry) -> None:
    for key in artifacts(registry):
        del registry.blobs["r", artifacts(registry)[key]["layers"][0]["digest"]]
        del registry.blobs["r", artifacts(registry)[key]["layers"][1]["digest"]]


def no_manifest(registry: InProcessRegistry) -> None:
    for key in artifacts(registry):
        registry.manifests[key] = registry.manifests[key][0], b"[]"


def rubbish(registry: InProcessRegistry) -> None:
    forge_indexes(registry, lambda data: b"rubbish" * (len(data) // 9))


def empty(registry: InProcessRegistry) -> None:
    forge_indexes(registry, lambda _: b"")


def cut(registry: InProcessRegistry) -> None:
    forge_indexes(registry, lambda data: data[: SPANS_HEAD.size + 100])


def many_spans(registry: InProcessRegistry) -> None:
    def counted(data: bytes) -> bytes:
        magic, _, size, table = SPANS_HEAD.unpack_from(data)
        return SPANS_HEAD.pack(magic, 1 << 60, size, table) + data[SPANS_HEAD.size :]

    forge_indexes(registry, counted)


REFUSED = [
    *(other_bytes, huge, of_another_image, of_another_layer, of_another_type, not_there),
    *(no_manifest, rubbish, empty, cut, many_spans),
]


@pytest.mark.parametrize("damage", REFUSED)
def test_what_is_not_taken(pushed: Lazy, damage: Callable[[InProcessRegistry], None]) -> None:
    """The layers are pulled whole, as if it were not there."""
    blobs = dict(pushed.registry.blobs)
    try:
        damage(pushed.registry)
        done = pushed.image("pull", "--lazy", f"{pushed.name}:gzip", pushed.name)
    finally:
        pushed.registry.blobs.clear()
        pushed.registry.blobs.update(blobs)
    assert pushed.registry.count(ASKED) > 0
    assert "pulled whole: layer 1 (" in done.stderr
    assert "3 (small)" in done.stderr
    assert pushed.incomplete == 0
    assert seen(pushed.storage, pushed.name) == DIGESTS
    for place in ("tmp", "tmp/trash"):
        assert not [path for path in (pushed.storage / place).glob("*") if path.name != "trash"]


LISTS: dict[str, tuple[dict[str, str], bytes]] = {
    "no JSON": ({}, b"<html>"),
    "no index": ({}, b'{"schemaVersion": 2}'),
    "too large": ({}, b" " * (MANIFEST_SIZE_LIMIT + 1)),
    "endless": (
        {"Link": '</v2/r/referrers/x?more>; rel="next"'},
        b'{"schemaVersion": 2, "manifests": []}',
    ),
    "elsewhere": (
        {"Link": '<http://127.0.0.1:9/v2/r/referrers/y?z>; rel="next"'},
        b'{"schemaVersion": 2, "manifests": []}',
    ),
    "relative": (
        {"Link": '<?more>; rel="next"'},
        b'{"schemaVersion": 2, "manifests": []}',
    ),
    "no address": (
        {"Link": '<http://[>; rel="next"'},
        b'{"schemaVersion": 2, "manifests": []}',
    ),
}
PAGES = {"endless": 8, "elsewhere": 8, "relative": 8}


@pytest.mark.parametrize("case", LISTS)
def test_lists_that_are_none(
    *, lazy: Lazy, settings: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    headers, content = LISTS[case]
    allow(settings, lazy.registry.host)
    monkeypatch.setattr(
        "tests.image.registry.servers._Handler._referrers",
        lambda *_: (200, headers, content),
    )
    assert WHOLE in lazy.image("pull", "--lazy", f"{lazy.name}:gzip").stderr
    assert lazy.registry.count(ASKED) == PAGES.get(case, 1)


def other_digest(fields: list[Any]) -> None:
    fields[5] = bytes((fields[5][0] ^ 1,)) + fields[5][1:]


def other_window(fields: list[Any]) -> None:
    fields[2] += 1


def other_place(fields: list[Any]) -> None:
    fields[1] += 1


def other_bits(fields: list[Any]) -> None:
    fields[4] = (fields[4] + 1) % 8


def other_offset(fields: list[Any]) -> None:
    fields[0] += bool(fields[0])


def endless_offset(fields: list[Any]) -> None:
    fields[0] *= 1 << 30


@pytest.mark.parametrize(
    "lie", [other_digest, other_window, other_place, other_bits, other_offset, endless_offset]
)
@pytest.mark.parametrize("pushed", [True], indirect=True)
def test_lies_about_spans(pushed: Lazy, lie: Callable[[list[Any]], None]) -> None:
    """No program sees a wrong byte, and what is complete is not believed."""

    def changed(data: bytes) -> bytes:
        found = bytearray(data)
        for number in range(SpanTable(data, 1 << 40).count):
            place = SPANS_HEAD.size + number * SPAN.size
            fields = list(SPAN.unpack_from(data, place))
            lie(fields)
            SPAN.pack_into(found, place, *fields)
        return bytes(found)

    forge_indexes(pushed.registry, changed)
    name = f"{pushed.name}:gzip"
    pushed.image("pull", "--lazy", name)
    assert pushed.incomplete == 2
    assert seen(pushed.storage, name) in ([], DIGESTS[:1], DIGESTS)
    refusals = 0
    # A start may have found one lie already.  Then a pull finds the other.
    while (done := pushed.image("pull", name, check=False)).returncode:
        refusals += 1
        assert done.returncode == 1
        assert "its index is not true" in done.stderr
        assert "is not true)" in pushed.image("pull", "--lazy", name).stderr
        assert refusals <= 2
    assert refusals
    assert seen(pushed.storage, name) == DIGESTS


@pytest.mark.parametrize("pushed", [True], indirect=True)
def test_lies_that_fit_together(pushed: Lazy, tmp_path: Path) -> None:
    """A start shows them until the layer is complete.  So the user has to allow it."""

    def changed(data: bytes) -> bytes:
        path = tmp_path / "index"
        path.write_bytes(data)
        rewrite_index(path)
        return path.read_bytes()

    forge_indexes(pushed.registry, changed)
    name = f"{pushed.name}:gzip"
    assert "pulled whole: layer 3 (small)" in pushed.image("-v", "pull", "--lazy", name).stderr
    assert pushed.incomplete == 2
    done = pushed.image("pull", name, check=False)
    assert done.returncode == 1
    assert "its table of contents is not true" in done.stderr
    done = runner("ch-run", pushed.storage)(name, "--", "true", check=False)
    assert done.returncode != 0
    assert "its table of contents is not true" in done.stderr
    assert "1 (its table of contents is not true)" in pushed.image("pull", "--lazy", name).stderr
    assert seen(pushed.storage, name) == DIGESTS


def test_with_a_registry_of_debian(
    *, registry: str, settings: Path, tmp_path: Path, busybox_tar: Path, run_ch_image: Runner
) -> None:
    """It has no list of referrers: the tag stands for it."""
    (tar, *_) = large_tars(tmp_path, busybox_tar)
    name = f"{registry}/indexed:1"
    run_ch_image("import", tar, name)
    digest = run_ch_image("push", name).stdout.strip()
    for _ in range(2):
        run_ch_image("index", "--push", name)
    url = f"http://{registry}/v2/indexed/manifests/{digest.replace(':', '-')}"
    wanted = urllib.request.Request(url, headers={"Accept": OCI_INDEX})
    with urllib.request.urlopen(wanted) as answer:
        (entry,) = json.load(answer)["manifests"]
    assert entry["artifactType"] == INDEX_ARTIFACT
    allow(settings, registry)
    user = runner("ch-image", tmp_path / "user")
    assert "pulled whole" not in user("pull", "--lazy", name).stderr
    done = runner("ch-run", tmp_path / "user")(
        *(name, "--", "sha256sum", "/noise"), env={"CH_RUN_LAZY": "ondemand"}
    )
    assert done.stdout.split()[0] == DIGESTS[0]
