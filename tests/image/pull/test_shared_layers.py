"""A pull takes layers from shared stores, and asks no registry for them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.conftest import runner
from tests.image.layer.archives import file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Completed
    from tests.image.pull.faulty import FaultyRegistry
    from tests.image.pull.images import Layer


class Sharing:
    """A registry, a shared store, and a user's storage directory; ``base`` is a layer that runs."""

    def __init__(self, registry: FaultyRegistry, base: Layer, place: Path) -> None:
        self.registry = registry
        self.shelf = registry.shelf
        self.base = base
        self.store = place / "shared"
        self.storage = place / "storage"
        self.publisher = runner("ch-image", place / "publisher")
        self.image = runner("ch-image", self.storage)

    def publish(self, name: str) -> None:
        """Publish an image of the registry."""
        full = f"{self.registry.host}/{name}"
        self.publisher("pull", full)
        self.publisher("publish", "--as=published", full, self.store)
        self.forget()

    def forget(self) -> None:
        """Forget what was asked so far."""
        self.registry.asked.clear()
        self.registry.sent = 0

    def pull(self, name: str, *options: str, check: bool = True) -> Completed:
        """Pull an image as ``app``, with the shared store."""
        variables = {"CH_IMAGE_STORES": str(self.store)}
        words = ["pull", *options, f"{self.registry.host}/{name}", "app"]
        return self.image(*words, env=variables, check=check)

    def run(self, *words: str) -> str:
        """Run a command in ``app``, without the shared store; return what it prints."""
        return runner("ch-run", self.storage)("app", "--", *words).stdout

    @property
    def blobs(self) -> int:
        """The number of requests for blobs."""
        return sum(asked.is_blob for asked in self.registry.asked)

    def size(self, name: str, *layers: Layer) -> int:
        """Return the bytes of an image's configuration and of some of its blobs."""
        manifest = json.loads(self.shelf.blobs[self.shelf.tags[name]])
        described = [manifest["config"], *(each.descriptor for each in layers)]
        return sum(int(each["size"]) for each in described)


@pytest.fixture
def sharing(faulty: FaultyRegistry, busybox_tar: Path, tmp_path: Path) -> Sharing:
    return Sharing(faulty, faulty.shelf.tar_layer(busybox_tar.read_bytes()), tmp_path)


@pytest.mark.parametrize("options", [(), ("--lazy",)])
def test_only_what_no_store_has_is_downloaded(sharing: Sharing, options: tuple[str, ...]) -> None:
    shelf, base = sharing.shelf, sharing.base
    middle, top = shelf.layer(file("middle", b"m")), shelf.layer(file("top", b"t"))
    shelf.image(base, middle, tag="a:1")
    shelf.image(base, middle, top, tag="b:1")
    sharing.publish("a:1")
    said = sharing.pull("b:1", *options).stderr
    assert (sharing.blobs, sharing.registry.sent) == (2, sharing.size("b:1", top))
    for number in (1, 2):
        assert f"layer {number}/3: copying from the shared store {sharing.store}" in said
    assert sharing.run("cat", "/middle", "/top") == "mt"
    # They are the user's own now, whatever becomes of the store.
    sharing.store.rename(sharing.store.with_name("elsewhere"))
    assert sharing.run("cat", "/middle") == "m"
    shelf.image(base, middle, shelf.layer(file("new", b"n")), tag="b:1")
    sharing.forget()
    sharing.image("pull", f"{sharing.registry.host}/b:1", "app")
    assert sharing.blobs == 2
    assert sharing.run("cat", "/middle", "/new") == "mn"


def test_a_build_does_not_download_them_either(sharing: Sharing, tmp_path: Path) -> None:
    top = sharing.shelf.layer(file("top", b"t"))
    sharing.shelf.image(sharing.base, tag="a:1")
    sharing.shelf.image(sharing.base, top, tag="b:1")
    sharing.publish("a:1")
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {sharing.registry.host}/b:1\nRUN cat /top >/seen\n")
    sharing.image("--image-store", sharing.store, "build", "-t", "app", context)
    assert (sharing.blobs, sharing.registry.sent) == (2, sharing.size("b:1", top))
    assert sharing.run("cat", "/seen") == "t"


def test_a_layer_that_depends_on_those_below_is_taken_on_these_alone(sharing: Sharing) -> None:
    """The whiteout of a file that is not below is none, in the tree that is published."""
    shelf, base = sharing.shelf, sharing.base
    whiteout = shelf.layer(file(".wh.gone"))
    shelf.image(base, whiteout, tag="without:1")
    shelf.image(base, shelf.layer(file("gone")), whiteout, tag="with:1")
    sharing.publish("without:1")
    sharing.pull("with:1")
    assert sharing.blobs == 3  # all but the base
    assert "gone" not in sharing.run("ls", "/").split()
    sharing.forget()
    sharing.pull("without:1")
    assert sharing.blobs == 1


def test_what_was_pulled_so_is_published_as_the_same_layers(sharing: Sharing) -> None:
    sharing.shelf.image(sharing.base, sharing.shelf.layer(file("top", b"t")), tag="a:1")
    sharing.publish("a:1")
    sharing.pull("a:1")
    said = sharing.image("publish", "app", sharing.store).stderr
    assert "0 layers written, 4 were there" in said


def _damage(layer: Path) -> None:
    (layer / "file").chmod(0o644)
    with (layer / "file").open("r+b") as damaged:
        damaged.seek(200)
        damaged.write(b"damage")
    (layer / "file").chmod(0o444)


DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (_damage, "file has another digest"),
    (lambda layer: (layer / "file").chmod(0o466), "is writable to others than its owner"),
    (lambda layer: layer.chmod(0o777), "is writable to others than its owner"),
    (lambda layer: (layer / "index").unlink(), "index is missing"),
    (lambda layer: (layer / "layer.json").unlink(), "layer.json is missing"),
    (lambda layer: (layer / "digests").unlink(), "digests is missing"),
]


@pytest.mark.parametrize(("damage", "text"), DAMAGES)
def test_a_layer_that_is_damaged_or_not_trusted_is_downloaded(
    sharing: Sharing, damage: Callable[[Path], object], text: str
) -> None:
    top = sharing.shelf.layer(file("top", b"t" * 5000))
    sharing.shelf.image(top, sharing.base, tag="a:1")
    sharing.publish("a:1")
    (layer,) = (each for each in (sharing.store / "layers").iterdir() if _is(each, sharing.base))
    damage(layer)
    said = sharing.pull("a:1").stderr
    assert "layer 2/2" in next(line for line in said.splitlines() if text in line)
    assert (sharing.blobs, sharing.registry.sent) == (2, sharing.size("a:1", sharing.base))
    assert sharing.run("cat", "/top") == "t" * 5000


def _is(path: Path, layer: Layer) -> bool:
    blobs = json.loads((path / "layer.json").read_text())["blobs"]
    return any(blob["diff_id"] == layer.diff_id for blob in blobs)


def test_a_store_that_does_not_count_gives_nothing(sharing: Sharing) -> None:
    shelf, store = sharing.shelf, sharing.store
    shelf.image(sharing.base, tag="a:1")
    sharing.publish("a:1")
    store.chmod(0o775)
    said = sharing.pull("a:1").stderr
    assert f"can't use the shared store {store}: {store} is writable to others" in said
    assert sharing.blobs == 2
    shelf.image(sharing.base, shelf.layer(file("new")), tag="a:1")
    named = sharing.pull("a:1", f"--image-store={store}", check=False)
    assert named.returncode == 1
    assert "can't use the shared store" in named.stderr
    assert os.listdir(sharing.storage / "tmp") == ["trash"]


def test_an_empty_variable_asks_no_store(sharing: Sharing) -> None:
    sharing.shelf.image(sharing.base, tag="a:1")
    sharing.publish("a:1")
    words = ["pull", f"{sharing.registry.host}/a:1", "app"]
    sharing.image(*words, env={"CH_IMAGE_STORES": ""})
    assert sharing.blobs == 2
