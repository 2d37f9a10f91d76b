"""``build --output``: the result as a directory, an archive or a layout, with or without a name."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from sundog.errors import UsageError
from sundog.front.cli.build_outputs import chosen_outputs
from tests.conftest import command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Completed
    from tests.image.builder.conftest import Workshop

DOCKERFILE = "FROM scratch\nCOPY a /app/a\nLABEL made=here\n"


@pytest.fixture
def shop(any_workshop: Workshop) -> Workshop:
    any_workshop.write({"a": "one\n"})
    return any_workshop


def build(shop: Workshop, *options: str | Path, check: bool = True) -> Completed:
    """Build without a name."""
    path = shop.context.parent / "Dockerfile"
    path.write_text(DOCKERFILE)
    return shop.ch_image("build", "-f", path, *options, shop.context, check=check)


def names(shop: Workshop) -> list[str]:
    return shop.ch_image("list").stdout.split()


def left(directory: Path) -> list[str]:
    """Return what a failed writer would leave."""
    return [name for name in os.listdir(directory) if ".part" in name]


def test_directory(shop: Workshop, tmp_path: Path) -> None:
    """The files are there, storage has no image; again, the directory is replaced as a whole."""
    out = tmp_path / "out"
    before = names(shop)
    done = build(shop, "-o", out)
    assert (out / "app/a").read_text() == "one\n"
    assert names(shop) == before
    assert "inferred" not in done.stderr
    shop.write({"a": "two\n"})
    (out / "app/old").touch()
    build(shop, "--output", f"type=local,dest={out}", "-t", "named")
    assert (out / "app/a").read_text() == "two\n"
    assert not (out / "app/old").exists()
    assert names(shop) == sorted([*before, "named"])
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").touch()
    failed = build(shop, "-o", mine, check=False)
    assert failed.returncode == 1
    assert "does not appear to be an image" in failed.stderr
    assert ". COPY" not in failed.stderr  # before the build
    assert os.listdir(mine) == ["file"]
    assert not left(tmp_path)


def test_archives(shop: Workshop, tmp_path: Path) -> None:
    """Several outputs of one build; another program's format names the image as -t does."""
    places = {form: tmp_path / f"{form}.tar" for form in ("tar", "oci", "docker")}
    outputs = [f"--output=type={form},dest={path}" for form, path in places.items()]
    layout = tmp_path / "layout"
    outputs.append(f"--output=type=oci,tar=false,dest={layout},name=x.org/y:1")
    build(shop, *outputs, "-t", "app:1", "-t", "other")
    with tarfile.open(places["tar"]) as tar:
        assert tar.extractfile("app/a").read() == b"one\n"  # type: ignore[union-attr]
    with tarfile.open(places["docker"]) as tar:
        entries = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    tags = ["docker.io/library/app:1", "docker.io/library/other:latest"]
    assert [tag for entry in entries for tag in entry["RepoTags"]] == tags
    with tarfile.open(places["oci"]) as tar:
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
    found = [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]]
    assert found == tags
    index = json.loads((layout / "index.json").read_text())
    [entry] = index["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "x.org/y:1"
    shop.ch_image("load", places["oci"])
    assert "app:1" in names(shop)


@pytest.mark.parametrize("option", ["-o -", "--output=type=tar,dest=- -qq", "--output=type=tar"])
def test_standard_output(shop: Workshop, option: str) -> None:
    """Nothing but the archive is there, not even what RUN prints, and -q does not take it away."""
    path = shop.context.parent / "Dockerfile"
    path.write_text("FROM bb\nCOPY a /app/a\nRUN echo printed\n")
    storage = shop.ch_image("gestalt", "storage-path").stdout.strip()
    done = subprocess.run(
        [*command("ch-image"), "build", "-f", path, *option.split(), shop.context],
        env=os.environ | {"CH_IMAGE_STORAGE": storage},
        capture_output=True,
        check=True,
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert tar.extractfile("app/a").read() == b"one\n"  # type: ignore[union-attr]
    assert (b"\nprinted\n" in done.stderr) == ("-qq" not in option)


def test_storage(shop: Workshop) -> None:
    """type=image gives names, without a name it is as without --output; cacheonly gives none."""
    before = names(shop)
    build(shop, "--output=type=cacheonly")
    assert names(shop) == before
    build(shop, '--output=type=image,"name=a:1,b:2"')
    assert names(shop) == sorted([*before, "a:1", "b:2"])
    done = build(shop, "--output=type=image")
    assert "inferred image name: context" in done.stderr


def test_dry_run_writes_nothing(shop: Workshop, tmp_path: Path) -> None:
    build(shop, "-n", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("type=lokal,dest=x", "no such type: lokal", "did you mean local?"),
        ("type=x,dest=y", "no such type: x", "one of: local, tar, oci"),
        ("type=local", "type=local: no dest", "type=local,dest=PATH"),
        ("type=local,dest=", "type=local: no dest", "type=local,dest=PATH"),
        ("type=docker", "type=docker: no dest", "the image is in storage"),
        ("type=local,dst=x", "type=local has no dst", "did you mean dest?"),
        ("type=tar,dest=x,push=true", "type=tar has no push", "takes dest"),
        ("type=local,dest=-", "a directory can't go to standard output", "type=tar,dest=-"),
        ("type=oci,tar=false,dest=-", "a directory can't go to standard output", "type=tar"),
        ("type=oci,tar=maybe,dest=x", "tar: neither true nor false: maybe", "tar=true"),
        ("type=oci,dest=x,compression=lz4", "no such compression: lz4", "gzip, zstd, uncompr"),
        ("dest=x,push=true", "no type", "one of: local"),
        ("type=tar,dest", "not a field: dest", "type=oci,dest=FILE"),
        ("type=tar,dest=x,dest=y", "two fields dest", "leave out one"),
        ('type=tar,"dest=x', "not a list of fields", "type=oci,dest=FILE"),
        ("", "type=local: no dest", "dest=PATH"),
    ],
)
def test_mistakes(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen_outputs([text])
    assert caught.value.message.startswith("--output: ")
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_mistakes_of_a_line(shop: Workshop, tmp_path: Path) -> None:
    """What can't be is known before the build: exit status 2, and no instruction runs."""
    for options, message in {
        ("-o", "-", "-o", "type=oci"): "two archives on standard output",
        ("-o", f"type=tar,dest={tmp_path}/x"): "unknown extension",
        ("-o", "type=registry"): "no name to push to",
    }.items():
        done = build(shop, *options, check=False)
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        assert "COPY" not in done.stderr
