"""Shared caches that fail, and entries that are not what they should be: the step runs."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
from typing import TYPE_CHECKING, Any, cast

import pytest

from sundog.image.builder.shared.cache import SharedCaches
from sundog.image.builder.shared.place import PlaceText, Sharing
from sundog.image.builder.shared.registry_place import RegistryPlace
from sundog.image.registry.session import Session
from tests.conftest import command
from tests.image.builder.test_shared_cache import registry, shared, statuses
from tests.image.registry.servers import CutOff, Refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.image.builder.report import Report
    from sundog.image.transfer.report import Report as TransferReport
    from tests.conftest import Completed
    from tests.image.builder.test_shared_cache import Shared
    from tests.image.registry.servers import InProcessRegistry

__all__ = ["registry", "shared"]

DOCKERFILE = "FROM bb\nCOPY d /d\nRUN cat /d/file >/made\n"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def warnings(done: Completed) -> set[str]:
    """Return the warnings of a build; they come again at its end."""
    found = re.findall("^warning: (.*)", done.stderr, re.MULTILINE)
    return {text for text in found if not text.startswith("reprinting")}


def refusing(pattern: str, answer: Exception) -> Callable[[InProcessRegistry], None]:
    """Return the fault that requests of a pattern get an answer."""

    def before(request: str) -> None:
        if re.match(pattern, request):
            raise answer

    def fault(registry: InProcessRegistry) -> None:
        registry.before = before

    return fault


def with_entries(
    change: Callable[[InProcessRegistry, dict[str, Any]], None],
) -> Callable[[InProcessRegistry], None]:
    """Return the fault that a manifest is another one, for all entries."""

    def fault(registry: InProcessRegistry) -> None:
        for place, (kind, content) in [*registry.manifests.items()]:
            if ":" not in place[1]:
                manifest = json.loads(content)
                change(registry, manifest)
                changed = json.dumps(manifest).encode()
                digest = f"sha256:{hashlib.sha256(changed).hexdigest()}"
                registry.manifests[place] = registry.manifests[place[0], digest] = (kind, changed)

    return fault


def _no_layers(_: InProcessRegistry, manifest: dict[str, Any]) -> None:
    manifest["layers"] = []


def _two_layers(_: InProcessRegistry, manifest: dict[str, Any]) -> None:
    manifest["layers"] *= 2


def _foreign(_: InProcessRegistry, manifest: dict[str, Any]) -> None:
    del manifest["annotations"]


def _moved(_: InProcessRegistry, manifest: dict[str, Any]) -> None:
    manifest["annotations"]["sundog.cache.key"] = "0" * 64


def _huge_config(_: InProcessRegistry, manifest: dict[str, Any]) -> None:
    manifest["config"]["size"] = 1 << 40


def _config(change: Callable[[dict[str, Any]], None]) -> Callable[[InProcessRegistry], None]:
    def changed(registry: InProcessRegistry, manifest: dict[str, Any]) -> None:
        (repository, _), *_rest = registry.manifests
        described = manifest["config"]
        config = json.loads(registry.blobs[repository, described["digest"]])
        change(config)
        content = json.dumps(config).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        described |= {"digest": digest, "size": len(content)}
        registry.blobs[repository, digest] = content

    return with_entries(changed)


def _two_diff_ids(config: dict[str, Any]) -> None:
    config["rootfs"]["diff_ids"] *= 2


def _no_diff_id(config: dict[str, Any]) -> None:
    config["rootfs"]["diff_ids"] = ["sha256:../../etc"]


def _other_diff_id(config: dict[str, Any]) -> None:
    config["rootfs"]["diff_ids"] = ["sha256:" + "0" * 64]


def _page(registry: InProcessRegistry) -> None:
    for place in [*registry.manifests]:
        registry.manifests[place] = ("text/html", b"<html>")


def _no_json(registry: InProcessRegistry) -> None:
    for place in [*registry.manifests]:
        registry.manifests[place] = (MANIFEST, b"[" * 100_000)


ANSWERS = {
    "401": refusing("GET.*manifests", Refuse(401)),
    "404 of a document": refusing("GET.*blobs", Refuse(404)),
    "429": refusing("GET.*manifests", Refuse(429, Retry_After="3600")),
    "500": refusing("GET.*manifests", Refuse(500)),
    "cut": refusing("GET.*manifests", CutOff()),
    "no layer": with_entries(_no_layers),
    "two layers": with_entries(_two_layers),
    "a foreign tag": with_entries(_foreign),
    "another entry's tag": with_entries(_moved),
    "a huge document": with_entries(_huge_config),
    "two diff IDs": _config(_two_diff_ids),
    "no diff ID": _config(_no_diff_id),
    "a page": _page,
    "no JSON": _no_json,
}


class Told:
    """A report of a build that keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def info(self, text: str) -> None:
        pass

    verbose = info

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def caches(repo: str) -> tuple[SharedCaches, Told]:
    """Return a build's view of a repository."""
    told = Told()
    report = cast("Report", told)
    session = Session({}, cast("TransferReport", told), attempts=2)
    sharing = Sharing(
        [PlaceText.parse(repo, "--cache-from")],
        [],
        None,
        lambda text: RegistryPlace(text, session, report),
    )
    return SharedCaches(sharing, report), told


def test_answers_that_are_no_entry(shared: Shared) -> None:
    """One warning each; nothing is built from them."""
    one, two = shared.store(), shared.store()
    one.build(DOCKERFILE, "--cache-to", shared.repo)
    registry = shared.registry
    kept = dict(registry.manifests), dict(registry.blobs)
    key = min(shared.tags())
    registry.connections.clear()
    found, told = caches(shared.repo)
    assert found.find("0" * 64) is None
    assert found.find(key) is not None
    assert not told.warnings
    assert len(registry.connections) == 1
    for name, fault in ANSWERS.items():
        fault(registry)
        found, told = caches(shared.repo)
        assert found.find(key) is None, name
        assert found.find(key) is None, name
        assert len(told.warnings) == 1, (name, told.warnings)
        registry.before = lambda _: None
        registry.manifests, registry.blobs = dict(kept[0]), dict(kept[1])
    ANSWERS["500"](registry)
    done = two.build(DOCKERFILE, "-n", "--cache-from", shared.repo)
    assert statuses(done) == "*.."
    assert len(warnings(done)) == 1, done.stderr


def _flipped(registry: InProcessRegistry) -> None:
    """Damage the layers."""
    for content in {content for _, content in registry.manifests.values()}:
        for layer in json.loads(content)["layers"]:
            place = ("team/cache", layer["digest"])
            data = registry.blobs[place]
            registry.blobs[place] = data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    ("fault", "count"),
    [(_flipped, 2), (_config(_other_diff_id), 1), (refusing("GET.*blobs", Refuse(404)), 1)],
    ids=["wrong digest", "other diff ID", "gone"],
)
def test_layers_that_are_not_what_they_should_be(
    shared: Shared, fault: Callable[[InProcessRegistry], None], count: int
) -> None:
    """The build begins again without the entry; what comes of it is right."""
    one, two = shared.store(), shared.store()
    one.build(DOCKERFILE, "--cache-to", shared.repo)
    fault(shared.registry)
    done = two.build(DOCKERFILE, "--cache-from", shared.repo)
    assert statuses(done)[-3:] == "*.."
    assert 1 <= len(warnings(done)) <= count, done.stderr
    assert two.run("cat /made") == "1"
    assert statuses(two.build(DOCKERFILE)) == "***"


def test_places_that_do_not_work(shared: Shared) -> None:
    """One warning for each place, and the build goes on; with ignore-error=false, it fails."""
    workshop = shared.store()
    nowhere = "127.0.0.1:1/team/cache"
    done = workshop.build(DOCKERFILE, "--cache-from", nowhere, "--cache-to", nowhere)
    assert len(warnings(done)) == 2
    assert all("the build goes on without" in text for text in warnings(done))
    done = workshop.build(
        DOCKERFILE, f"--cache-to=type=registry,ref={nowhere},ignore-error=false", check=False
    )
    assert done.returncode == 1
    assert "hint: the image is in storage" in done.stderr
    assert workshop.run("cat /made") == "1"
    done = workshop.build(DOCKERFILE, "--cache-from=type=local,src=/proc/none")
    assert len(warnings(done)) == 0  # all is here, so nobody asks


def test_an_interrupted_write_leaves_no_half_entry(shared: Shared) -> None:
    """^C comes when the registry has the layer, and before the manifest."""
    workshop = shared.store()
    building: list[subprocess.Popen[bytes]] = []

    def interrupt(request: str) -> None:
        if re.match("PUT.*blobs/uploads", request):
            building[0].send_signal(signal.SIGINT)
            building[0].wait()

    shared.registry.after = interrupt
    (workshop.context.parent / "Dockerfile").write_text(DOCKERFILE)
    storage = str(workshop.context.parent / "storage")
    words = ["-s", storage, "build", "-t", "x", "-f", f"{workshop.context.parent}/Dockerfile"]
    building.append(
        subprocess.Popen(
            [*command("ch-image"), *words, "--cache-to", shared.repo, workshop.context],
            stderr=subprocess.PIPE,
        )
    )
    building[0].communicate()
    assert building[0].returncode == -signal.SIGINT
    assert not shared.tags()
    shared.registry.after = lambda _: None
    assert statuses(workshop.build(DOCKERFILE, "--cache-to", shared.repo)) == "**."
    assert len(shared.tags()) == 2


def test_old_entries(shared: Shared) -> None:
    """--cache-ttl: an entry that is too old is made and written again."""
    one, two = shared.store(), shared.store()
    one.build(DOCKERFILE, "--cache-to", shared.repo)
    tags = shared.tags()
    shared.registry.requests.clear()
    source = ("--cache-from", shared.repo)
    assert statuses(two.build(DOCKERFILE, "-n", *source, "--cache-ttl=1h")) == "***"
    done = two.build(DOCKERFILE, *source, "--cache-to", shared.repo, "--cache-ttl=1ms")
    assert statuses(done) == "*.."
    written = [
        request for request in shared.registry.requests if "PUT /v2/team/cache/man" in request
    ]
    assert len(written) == 2
    assert written[0].rpartition("/")[2] in tags
    done = two.build(DOCKERFILE, *source, "--cache-ttl=soon", check=False)
    assert done.returncode == 2
    assert "--cache-ttl soon: not a duration" in done.stderr


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--cache-to=type=gha", "type=gha is not possible here"),
        ("--cache-from=type=inline", "type=inline is not possible here"),
        ("--cache-to=type=local,src=x", "no dest"),
        ("--cache-to=type=registry,ref=x,mode=all", "mode=all"),
        ("--cache-to=type=registry,ref=x,compression=lz4", "compression=lz4"),
        ("--cache-to=type=registry,ref=x,image-manifest=false", "image-manifest=false"),
        ("--cache-to=type=registry,ref=x,ignore-error=maybe", "ignore-error=maybe"),
        ("--cache-from=type=registry,ref=x,unknown=1", "not possible here: unknown"),
        ("--cache-from=type=registry,ref", "'ref' has no value"),
        ("--cache-from=x@sha256:" + "0" * 64, "a digest"),
    ],
)
def test_values_that_are_refused(shared: Shared, option: str, said: str) -> None:
    done = shared.store().build(DOCKERFILE, option, check=False)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[0]
    assert "hint: " in done.stderr
