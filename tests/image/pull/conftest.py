"""Registries for pulls: one that fails on request, and Debian's registry in four flavours."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Completed, Runner, run_program
from tests.image.pull.faulty import FaultyRegistry
from tests.image.pull.flavours import Flavours, certificate, running
from tests.image.pull.images import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def faulty(shelf: Shelf) -> Generator[FaultyRegistry]:
    """Return a registry that has the content of ``shelf``, and fails on request."""
    with FaultyRegistry(shelf).serve() as registry:
        yield registry


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the files of a certificate and its key.  No authority has signed the certificate."""
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def flavours(
    tmp_path_factory: pytest.TempPathFactory, tls: tuple[Path, Path]
) -> Generator[Flavours]:
    """Return docker-registry in four flavours over one storage."""
    with running(tmp_path_factory.mktemp("flavours"), tls) as registries:
        yield registries


@pytest.fixture(autouse=True)
def no_logins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hide the user's own logins and settings; return where Sundog looks for logins."""
    place = tmp_path / "logins.json"
    (tmp_path / "registries.conf").write_text("")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(place))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
    for name in ("CH_IMAGE_AUTH", "CH_IMAGE_USERNAME", "CH_IMAGE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return place


def refused(done: Completed, *parts: str) -> None:
    """Check that a command failed with one clear error that has all ``parts``."""
    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    for part in parts:
        assert part in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def leftovers(storage: Path) -> list[str]:
    """Return the names of the files in ``tmp/``, of the layers and of the images."""
    found = []
    for place in ("tmp", "tmp/trash", "layers", "images"):
        found += [f"{place}/{name}" for name in os.listdir(storage / place)]
    return [name for name in found if name != "tmp/trash"]


def layer_of(storage: Path, number: int, name: str, platform: str = "") -> Path:
    """Return the tree of layer ``number`` of the image ``name`` in storage.

    ``platform`` is that of an image beside the one for this machine, as in its directory's name.
    """
    for place in (storage / "images").iterdir():
        if platform and not place.name.endswith(f"={platform}"):
            continue
        image = json.loads((place / "image.json").read_text())
        if image["typed"] == name:
            layer: str = image["layers"][number]
            return storage / "layers" / layer / "tree"
    raise AssertionError(f"no image {name}")


__all__ = ["Runner", "layer_of", "leftovers", "refused"]


def engine(program: str, place: Path) -> Callable[..., str]:
    """Return a function that runs podman or buildah, with images in ``place``.

    It needs no subordinate IDs.
    """
    roots = (f"--root={place}/root", f"--runroot={place}/run")
    storage = ("--storage-driver", "vfs", "--storage-opt", "vfs.ignore_chown_errors=true")
    # On its own, podman leaves a process.
    command = ("buildah", "unshare", "podman") if program == "podman" else (program,)
    logins = place / "logins.json"
    logins.write_text("{}")
    environment = {"XDG_RUNTIME_DIR": str(place), "REGISTRY_AUTH_FILE": str(logins)}

    def run(*words: str) -> str:
        return run_program([*command, *roots, *storage, *words], env=environment).stdout

    return run
