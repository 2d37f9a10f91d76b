"""``ch-run --lazy oci:DIR``: an image runs from the layers of a layout, which stay there."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sundog.errors import EXIT_ERROR, EXIT_RUN
from tests.conftest import Completed, command, run_program
from tests.image.convert.blobs import NOISE, chunked, large_tars, layers_of

NOISE_END = 1 << 20  # bytes at the end of the first blob: of /noise, and the table
SUM = hashlib.sha256(NOISE).hexdigest()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Path:
    """Make the layouts ``chunked``, with three layers of zstd:chunked, and ``plain``."""
    place = tmp_path_factory.mktemp("in-place")
    chunked(place, large_tars(place, busybox_tar))
    return place


class Place:
    """A copy of the layout, which a test may change, and a storage directory."""

    def __init__(self, path: Path) -> None:
        self.layout = path / "layout"
        self.storage = path / "storage"
        self.environment = {"CH_IMAGE_STORAGE": str(self.storage)}

    def run(self, *words: str, check: bool = True, option: str = "--lazy", **env: str) -> Completed:
        argv = [*command("ch-run"), *option.split(), f"oci:{self.layout}", "--", *words]
        return run_program(argv, check=check, env=self.environment | env)

    def image(self, *words: str, check: bool = True) -> Completed:
        return run_program([*command("ch-image"), *words], check=check, env=self.environment)

    @property
    def blobs(self) -> list[Path]:
        """The blobs of the layers, bottom first."""
        return [path for _, path in layers_of(self.layout)]

    @property
    def placed(self) -> int:
        """The number of layers in storage that stay in the layout."""
        return len([*self.storage.glob("layers/*/place")])

    @property
    def copied(self) -> int:
        """The number of bytes of the disk that all of the storage directory takes."""
        return sum(path.lstat().st_blocks * 512 for path in self.storage.rglob("*"))


@pytest.fixture
def place(fuse: None, made: Path, tmp_path: Path) -> Place:
    shutil.copytree(made / "chunked", tmp_path / "layout")
    return Place(tmp_path)


def test_nothing_is_copied(place: Place) -> None:
    done = place.run("sha256sum", "/noise", "/more")
    digests = [hashlib.sha256(data).hexdigest() for data in (NOISE, NOISE[::-1])]
    assert [line.split()[0] for line in done.stdout.splitlines()] == digests
    assert done.stderr == ""
    assert place.placed == 3
    assert place.copied < 1 << 20
    assert place.run("cat", "/d/top", option="", CH_RUN_LAZY="ondemand").stdout == "top"
    (name,) = place.image("list").stdout.split()
    assert name.startswith("localhost/in-place/")
    listed = place.image("list", "-l").stdout
    assert "3 layers, in place" in listed
    assert "% here" not in listed
    assert json.loads(place.image("list", "--format=json").stdout)[0]["in_place"] == str(
        place.layout
    )
    assert f"in place:{' ' * 12}{place.layout}" in place.image("list", name).stdout
    layers = json.loads(place.image("inspect", name).stdout)[0]["layers"]
    assert [layer["in_place"] for layer in layers] == [str(place.layout)] * 3
    argv = [*command("ch-run"), name, "--", "ls", "/d"]
    assert run_program(argv, env=place.environment).stdout == "top\n"
    # Without the option, all of it comes.
    assert place.run("cat", "/d/top", option="").stdout == "top"
    shutil.rmtree(place.layout / "blobs")
    assert place.run("cat", "/d/top").stdout == "top"


def change_manifest(place: Path, change: Callable[[list[dict[str, object]]], None]) -> None:
    """Give the image of a layout other descriptors of its layers."""
    index = json.loads((place / "index.json").read_text())
    (entry,) = index["manifests"]
    blobs = place / "blobs/sha256"
    manifest = json.loads((blobs / entry["digest"][7:]).read_text())
    change(manifest["layers"])
    content = json.dumps(manifest).encode()
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    entry.update(digest=f"sha256:{digest}", size=len(content))
    (place / "index.json").write_text(json.dumps(index))


def test_a_layer_without_a_table_is_copied(place: Place) -> None:
    def strip(layers: list[dict[str, object]]) -> None:
        del layers[1]["annotations"]

    change_manifest(place.layout, strip)
    done = place.run("sha256sum", "/noise", "/more")
    assert done.stdout.startswith(SUM)
    (line,) = done.stderr.splitlines()
    assert line.endswith(
        "warning: copied into the storage directory: layer 2 (no table of contents)"
    )
    assert place.placed == 2
    assert place.run("cat", "/d/top").stderr == ""


def test_a_read_only_layout(place: Place) -> None:
    def state() -> list[tuple[str, int]]:
        return [(str(path), path.stat().st_ctime_ns) for path in place.layout.rglob("*")]

    for path in (place.layout, *place.layout.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = state()
    try:
        for _ in range(2):
            assert place.run("sha256sum", "/noise").stdout.startswith(SUM)
        assert place.placed == 3
        assert state() == before
    finally:
        for path in (place.layout, *place.layout.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


def remove(blob: Path) -> None:
    blob.unlink()


def cut(blob: Path) -> None:
    os.truncate(blob, blob.stat().st_size - 1)


def lead_out(blob: Path) -> None:
    target = blob.rename(blob.parents[3] / "outside")
    blob.symlink_to(target)


def cut_noise(blob: Path) -> None:
    os.truncate(blob, blob.stat().st_size - NOISE_END)


def blank_noise(blob: Path) -> None:
    with open(blob, "r+b") as file:
        file.seek(-NOISE_END, os.SEEK_END)
        file.write(bytes(NOISE_END // 2))


def be_a_fifo(blob: Path) -> None:
    blob.unlink()
    os.mkfifo(blob)


def have_other_bytes(blob: Path) -> None:
    data = blob.read_bytes()
    with open(blob, "r+b") as file:
        file.write(data[:100] + bytes(len(data) - 200))


# What a layout of a stranger may do to a blob, and what the user reads.
HOSTILE: dict[Callable[[Path], None], str] = {
    remove: "is not there",
    cut: "has {less} bytes, the manifest says {size}",
    lead_out: "cannot be read: invalid cross-device link",
    be_a_fifo: "is not a regular file",
    have_other_bytes: "content has digest sha256:",
}


@pytest.mark.parametrize("change", HOSTILE)
def test_a_hostile_layout(place: Place, change: Callable[[Path], None]) -> None:
    blob = place.blobs[0]
    size = blob.stat().st_size
    change(blob)
    done = place.run("true", check=False)
    assert done.returncode == EXIT_RUN
    error, hint = done.stderr.splitlines()
    assert HOSTILE[change].format(size=size, less=size - 1) in error
    assert blob.name in error
    assert ": hint: " in hint
    assert place.image("list").stdout == ""


@pytest.mark.parametrize("change", HOSTILE)
def test_a_layout_that_changes_after_its_first_start(
    place: Place, change: Callable[[Path], None]
) -> None:
    place.run("true")
    blob = place.blobs[0]
    change(blob)
    done = place.run("true", check=False)
    first, second = done.stderr.splitlines()
    assert str(blob) in first
    if change is have_other_bytes:  # it is the program that can't be read
        assert "has wrong bytes: " in first
        assert "Input/output error" in second
    else:
        assert "the image is in a layout, which has changed or can't be read: " in first
        assert ": hint: " in second
        assert done.returncode == EXIT_RUN


@pytest.mark.parametrize("change", [cut_noise, blank_noise])
def test_a_blob_that_changes_while_it_is_read(place: Place, change: Callable[[Path], None]) -> None:
    """Programs get no byte that is not in the image; the user reads one line."""
    script = "echo ready; read line; sha256sum /noise; sha256sum /noise"
    argv = [*command("ch-run"), "--lazy", f"oci:{place.layout}", "--", "sh", "-c", script]
    with subprocess.Popen(
        argv,
        env={**os.environ, **place.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        blob = place.blobs[0]
        change(blob)
        printed, told = process.communicate(b"\n", timeout=60)
    assert process.returncode == 1
    assert printed == b""
    lines = told.decode().splitlines()
    assert sum("sha256sum: " in line for line in lines) == 2
    assert sum(str(blob) in line for line in lines) == 1
    assert len(lines) == 3


def test_what_is_made_of_it(place: Place, tmp_path: Path) -> None:
    """A build on it, and what leaves, read the layout; without the layout, they fail."""
    place.run("true")
    (name,) = place.image("list").stdout.split()
    (tmp_path / "Dockerfile").write_text(f"FROM {name}\nRUN cp /d/top /copy\n")
    place.image("build", "-t", "made", str(tmp_path))
    run = [*command("ch-run"), "made", "--", "cat", "/copy"]
    assert run_program(run, env=place.environment).stdout == "top"
    convert = [*command("ch-convert"), "made"]
    run_program([*convert, str(tmp_path / "out")], env=place.environment)
    assert (tmp_path / "out/noise").read_bytes() == NOISE
    told = place.image("publish", "--as=app", name, str(tmp_path / "shared"), check=False).stderr
    assert "is here" in told
    place.layout.rename(tmp_path / "moved")
    done = run_program(run, check=False, env=place.environment)
    assert done.returncode == EXIT_RUN
    assert "the image is in a layout, which has changed or can't be read: " in done.stderr
    done = run_program([*convert, str(tmp_path / "again")], check=False, env=place.environment)
    assert done.returncode != 0
    assert "the image is in a layout, which has changed or can't be read: " in done.stderr
    assert not (tmp_path / "again").exists()
    (tmp_path / "Dockerfile").write_text(f"FROM {name}\nRUN cp /d/top /other\n")
    done = place.image("build", "-t", "other", str(tmp_path), check=False)
    assert done.returncode == EXIT_ERROR
    assert "the image is in a layout, which has changed or can't be read: " in done.stderr


def test_an_archive_is_copied(place: Place, tmp_path: Path) -> None:
    subprocess.run(["tar", "-cf", tmp_path / "tar", "-C", place.layout, "."], check=True)
    place.layout = tmp_path / "tar"
    done = place.run("cat", "/d/top")
    assert done.stdout == "top"
    (line,) = done.stderr.splitlines()
    assert line.endswith("warning: the image is taken whole: it is in an archive")
    assert place.placed == 0


def test_two_layouts_of_an_image(place: Place, tmp_path: Path) -> None:
    """One of them may vanish."""
    first, second = place.layout, tmp_path / "second"
    shutil.copytree(first, second)
    place.run("true")
    place.layout = second
    place.run("true")
    assert place.placed == 6
    shutil.rmtree(second)
    place.layout = first
    assert place.run("cat", "/d/top").stdout == "top"
