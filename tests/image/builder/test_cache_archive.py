"""``build-cache --export`` and ``--import``: results in one file, and what is wrong with one."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import command, copy_storage, runner
from tests.image.builder.conftest import Workshop, announced
from tests.image.builder.test_retry import CHECKED, runs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.conftest import Completed

DOCKERFILE = """\
FROM bb AS tools
COPY tool /tool
RUN cat /proc/sys/kernel/random/uuid >/when
FROM tools AS mounted
RUN echo big >/big
FROM bb
ENV A=1
WORKDIR /w
COPY --from=tools /when /when
RUN --mount=from=mounted,target=/mnt cat /mnt/big >/small
RUN true
COPY --link tool /linked
VOLUME /v
"""
RESULTS = 9


def statuses(done: Completed) -> str:
    return "".join(status for _, status, _ in announced(done)).replace(" ", "_")


@pytest.fixture
def stores(tmp_path: Path, storage_with_busybox: Callable[[str], Path]) -> Callable[..., Workshop]:
    """Return a maker of workshops with the same context; a store is empty, or has ``bb``."""
    made: list[Workshop] = []

    def make(*, has_base: bool = False) -> Workshop:
        place = tmp_path / str(len(made))
        place.mkdir()
        if has_base:
            copy_storage(storage_with_busybox(""), place / "storage")
        storage = place / "storage"
        made.append(Workshop(place, runner("ch-image", storage), runner("ch-run", storage)))
        made[-1].write({"tool": "#!/bin/sh\n"})
        return made[-1]

    return make


@pytest.fixture
def archive(stores: Callable[..., Workshop], tmp_path: Path) -> Path:
    """Return a file with the results of DOCKERFILE."""
    one = stores(has_base=True)
    one.build(DOCKERFILE)
    done = one.ch_image("build-cache", "--export", tmp_path / "cache.tar")
    assert f"exported {RESULTS} results" in done.stderr
    return tmp_path / "cache.tar"


def test_an_empty_store_hits_throughout(
    archive: Path, stores: Callable[..., Workshop], tmp_path: Path
) -> None:
    """The base comes along; nothing is asked for on the command line, and no file is read twice."""
    two = stores()
    done = two.ch_image("build-cache", "--import", archive)
    assert f"imported {RESULTS} results" in done.stderr
    done = two.build(DOCKERFILE, "--explain-cache")
    assert statuses(done) == "******.******"  # whether ENV is new, only the store knows
    assert two.run("cat /small; ls -d /w /v /linked") == "big\n/linked\n/v\n/w\n"
    # The stages that were only copied from were not unpacked.
    done = two.ch_image("build-cache", "--export", tmp_path / "again.tar", "img")
    assert "not in storage, so not exported: 3 results" in done.stderr
    # What was imported goes with what nobody needs.
    assert (two.context.parent / "storage/imported").exists()
    two.ch_image("build-cache", "--gc")
    assert not (two.context.parent / "storage/imported").exists()


def test_it_is_a_layout(archive: Path, stores: Callable[..., Workshop], tmp_path: Path) -> None:
    """--cache-from type=local reads it, too; load takes the base alone."""
    layout = tmp_path / "layout"
    layout.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", layout], check=True)
    two = stores()
    two.ch_image("load", archive)
    assert two.ch_image("list").stdout.split() == ["bb:latest"]
    done = two.build(DOCKERFILE, f"--cache-from=type=local,src={layout}")
    assert "." not in {s for _, s, text in announced(done) if text.startswith(("RUN", "COPY"))}


def test_streams_and_selection(stores: Callable[..., Workshop]) -> None:
    one, two = stores(has_base=True), stores()
    one.build(DOCKERFILE)
    one.build("FROM bb\nRUN echo other >/other\n", tag="other")
    storages = [os.fspath(each.context.parent / "storage") for each in (one, two)]
    line = [*command("ch-image"), "-s", storages[0], "build-cache", "--export", "-"]
    for words, count in (
        (["other"], 1),
        (["img", "--stage=tools"], 2),
        (["--stage=2"], 6),
        ([], 10),
    ):
        written = subprocess.run([*line, *words], stdout=subprocess.PIPE, check=True).stdout
        done = subprocess.run(
            [*command("ch-image"), "-s", storages[1], "build-cache", "--import", "-"],
            input=written,
            stderr=subprocess.PIPE,
            check=True,
        )
        assert f"imported {count} results".encode() in done.stderr, words


def test_a_second_try_is_known(stores: Callable[..., Workshop], tmp_path: Path) -> None:
    """Neither is a RUN that seccomp made fail run again."""
    one, two = stores(has_base=True), stores()
    one.build(CHECKED)
    one.ch_image("build-cache", "--export", tmp_path / "x.tar")
    two.ch_image("build-cache", "--import", tmp_path / "x.tar")
    assert runs(two.build(CHECKED)) == ["*S", "*C", "*C"]


def test_lines_that_are_wrong(stores: Callable[..., Workshop], tmp_path: Path) -> None:
    one = stores(has_base=True)
    for words, said in (
        (["--export", "x", "--import", "y"], "stand alone"),
        (["--export", "x", "--reset"], "stand alone"),
        (["--import", "x", "bb"], "--import takes all of a file"),
        (["bb"], "are for --export"),
        (["--export", f"{tmp_path}/x"], "no results to export"),
        (["--export", f"{tmp_path}/x", "bb"], "nothing is known of a build of bb"),
        (["--export", f"{tmp_path}/x", "none"], "not in storage: none"),
        (["--import", f"{tmp_path}/none"], "no such file"),
    ):
        done = one.ch_image("build-cache", *words, check=False)
        assert done.returncode in (1, 2)
        assert said in done.stderr.splitlines()[0], words
        assert done.stderr.startswith("error: ")
        assert not (tmp_path / "x").exists()


def changed(archive: Path, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """Return an archive with other files."""
    with tarfile.open(archive) as tar:
        files = {
            member.name: (tar.extractfile(member) or io.BytesIO()).read()
            for member in tar
            if member.isfile()
        }
    change(files)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return out.getvalue()


def entries(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    found = json.loads(files["index.json"])["manifests"]
    return [entry for entry in found if "sundog.cache.key" in entry["annotations"]]


def without_layers(files: dict[str, bytes]) -> None:
    for entry in entries(files):
        manifest = json.loads(files[f"blobs/sha256/{entry['digest'][7:]}"])
        files.pop(f"blobs/sha256/{manifest['layers'][0]['digest'][7:]}", None)


def damaged(files: dict[str, bytes]) -> None:
    for entry in entries(files):
        manifest = json.loads(files[f"blobs/sha256/{entry['digest'][7:]}"])
        name = f"blobs/sha256/{manifest['layers'][0]['digest'][7:]}"
        files[name] = bytes(len(files[name]))


def with_index(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, bytes]], None]:
    def made(files: dict[str, bytes]) -> None:
        index = json.loads(files["index.json"])
        for entry in index["manifests"]:
            change(entry)
        files["index.json"] = json.dumps(index).encode()

    return made


def _another_key(entry: dict[str, Any]) -> None:
    entry["annotations"]["sundog.cache.key"] = "../../x"


def _no_key(entry: dict[str, Any]) -> None:
    entry["annotations"] = {}


def _path(entry: dict[str, Any]) -> None:
    entry["digest"] = "sha256:../../../etc/passwd"


def _huge(entry: dict[str, Any]) -> None:
    entry["size"] = 1 << 50


def _two_layers(files: dict[str, bytes]) -> None:
    index = json.loads(files["index.json"])
    for entry in index["manifests"]:
        if "sundog.cache.key" in entry["annotations"]:
            manifest = json.loads(files[f"blobs/sha256/{entry['digest'][7:]}"])
            manifest["layers"] *= 2
            content = json.dumps(manifest).encode()
            entry["digest"] = f"sha256:{hashlib.sha256(content).hexdigest()}"
            entry["size"] = len(content)
            files[f"blobs/sha256/{entry['digest'][7:]}"] = content
    files["index.json"] = json.dumps(index).encode()


HOSTILE: dict[str, Callable[[dict[str, bytes]], None]] = {
    "no index": lambda files: files.update({"x": files.pop("index.json")}),
    "no layout": lambda files: files.update({"x": files.pop("oci-layout")}),
    "an index without end": lambda files: files.update({"index.json": b"[" * 100_000}),
    "a large index": lambda files: files.update({"index.json": b" " * (5 << 20)}),
    "no layers": without_layers,
    "damaged": damaged,
    "another key": with_index(_another_key),
    "no key": with_index(_no_key),
    "a path": with_index(_path),
    "huge": with_index(_huge),
    "two layers": _two_layers,
}


def test_what_is_no_archive(archive: Path, stores: Callable[..., Workshop]) -> None:
    """One line each, and nothing of it is taken."""
    two = stores(has_base=True)
    storage = two.context.parent / "storage"
    contents = {name: changed(archive, change) for name, change in HOSTILE.items()}
    contents["cut"] = archive.read_bytes()[:-20_000]
    contents["empty"] = b""
    contents["no tar"] = b"x" * 10_000
    path = archive.with_name("hostile.tar")
    for name, content in contents.items():
        path.write_bytes(content)
        done = two.ch_image("build-cache", "--import", path, check=False)
        assert done.returncode == 1, name
        assert done.stderr.startswith(f"error: can't import {path}: "), (name, done.stderr)
        assert len(done.stderr.splitlines()) == 2, (name, done.stderr)
        assert not (storage / "imported/index.json").exists(), name
    assert "." in statuses(two.build(DOCKERFILE))


def test_a_layer_of_an_archive_is_checked(archive: Path, stores: Callable[..., Workshop]) -> None:
    """One whose diff ID is another is found out when it is unpacked; the step runs."""

    def lie(files: dict[str, bytes]) -> None:
        index = json.loads(files["index.json"])
        for entry in index["manifests"]:
            if "sundog.cache.key" in entry["annotations"]:
                manifest = json.loads(files[f"blobs/sha256/{entry['digest'][7:]}"])
                config = json.loads(files[f"blobs/sha256/{manifest['config']['digest'][7:]}"])
                config["rootfs"]["diff_ids"] = ["sha256:" + "1" * 64]
                for described, value in ((manifest["config"], config), (entry, manifest)):
                    content = json.dumps(value).encode()
                    described["digest"] = f"sha256:{hashlib.sha256(content).hexdigest()}"
                    described["size"] = len(content)
                    files[f"blobs/sha256/{described['digest'][7:]}"] = content
        files["index.json"] = json.dumps(index).encode()

    two = stores()
    path = archive.with_name("lie.tar")
    path.write_bytes(changed(archive, lie))
    two.ch_image("build-cache", "--import", path)
    done = two.build(DOCKERFILE)
    assert "warning: " in done.stderr
    assert two.run("cat /small") == "big\n"
