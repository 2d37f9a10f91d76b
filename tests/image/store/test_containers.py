"""The store and running containers: a container outlives the removal of its image."""

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from sundog.image.store.store import Store
from sundog.image.transfer.importer import import_image
from tests.conftest import command
from tests.image.store.conftest import temporary_things

# The script says that it runs, waits for a line, and then opens files for the first time.
SCRIPT = "echo running; read -r line; cat /etc/passwd /ch/metadata.json >/dev/null && echo $line"


@pytest.fixture
def own_tar(tmp_path: Path, busybox_tar: Path) -> Path:
    """Return an image of this test alone: a container of another test can't keep its layer."""
    path = tmp_path / "own.tar"
    shutil.copyfile(busybox_tar, path)
    with tarfile.open(path, "a") as tar:
        tar.addfile(tarfile.TarInfo(os.urandom(8).hex()))
    return path


def start(storage: Path, name: str) -> subprocess.Popen[str]:
    container = subprocess.Popen(
        [*command("ch-run"), "-s", storage, name, "--", "sh", "-c", SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert container.stdout is not None
    assert container.stdout.readline() == "running\n"
    return container


def finish(container: subprocess.Popen[str]) -> None:
    output, _ = container.communicate("done\n")
    assert (output, container.returncode) == ("done\n", 0)


@pytest.mark.parametrize("how", ["delete", "replace"])
def test_container_goes_on_when_its_image_goes(
    storage: Path, driver: str, own_tar: Path, root_tar: Path, how: str
) -> None:
    with Store.open(str(storage), driver=driver) as store:
        import_image(store, str(own_tar), "x")
    container = start(storage, "x")
    with Store.open(str(storage), driver=driver) as store:
        if how == "delete":
            store.images.delete("x")
        else:
            import_image(store, str(root_tar), "x")
    assert temporary_things(storage) != []
    Store.open(str(storage), driver=driver).close()  # meanwhile, another command collects
    finish(container)
    Store.open(str(storage), driver=driver).close()
    assert temporary_things(storage) == []
    assert len(os.listdir(storage / "layers")) == (0 if how == "delete" else 1)


def test_container_of_another_image_keeps_nothing(
    storage: Path, driver: str, own_tar: Path, root_tar: Path
) -> None:
    with Store.open(str(storage), driver=driver) as store:
        import_image(store, str(own_tar), "x")
        import_image(store, str(root_tar), "y")
    container = start(storage, "x")
    with Store.open(str(storage), driver=driver) as store:
        store.images.delete("y")
    assert temporary_things(storage) == []
    finish(container)


def test_disk_that_containers_hold_is_named(storage: Path, own_tar: Path, driver: str) -> None:
    environment = os.environ | {"CH_IMAGE_STORAGE": str(storage)}

    def collected(*options: str) -> str:
        words = [*command("ch-image"), "build-cache", "--gc", *options]
        return subprocess.run(
            words, env=environment, capture_output=True, text=True, check=True
        ).stdout

    with Store.open(str(storage), driver=driver) as store:
        import_image(store, str(own_tar), "x")
        size = store.images.size(store.images.get("x"))
    container = start(storage, "x")
    with Store.open(str(storage), driver=driver) as store:
        store.images.delete("x")
    told = "deleted, but held: 1, "
    assert sum(line.startswith(told) for line in collected().splitlines()) == 1
    found = json.loads(collected("--format=json"))
    assert found["held_layers"] == 1
    assert size <= found["held_size"] < size + 10_000  # the files about the layer
    finish(container)
    assert "held" not in collected()
