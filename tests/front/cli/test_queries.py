"""Commands about the images in the store: list, history, inspect, build-cache, tag."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from sundog.front.cli.output import human_size
from sundog.image.oci.platform import Platform

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner

ID = re.compile("[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture
def build(run_ch_image: Runner, bb: str, tmp_path: Path) -> Any:
    """Return a function that builds on ``bb``, which is in storage."""

    def build(tag: str, *instructions: str) -> None:
        (tmp_path / "Dockerfile").write_text("\n".join(["FROM bb", *instructions, ""]))
        run_ch_image("build", "-q", "-t", tag, tmp_path)

    return build


def as_json(run_ch_image: Runner, *arguments: str) -> Any:
    return json.loads(run_ch_image(*arguments).stdout)


def layer_ids(storage: Path) -> set[str]:
    return set(os.listdir(storage / "layers"))


def test_list_long(run_ch_image: Runner, build: Any) -> None:
    build("one", "RUN printf 123456 >/six", "LABEL a=b")
    lines = run_ch_image("list", "-l").stdout.splitlines()
    (name, identity, created, size, layers, platform, origin) = lines[1].split(" | ")
    assert (name, layers, origin) == ("one", "2 layers", "ch-image build")
    assert platform.strip() == str(Platform.of_host())
    assert ID.fullmatch(identity.strip())
    assert TIME.fullmatch(created)
    assert re.fullmatch(r"\d+\.\d MiB", size.strip())
    assert [field.strip() for field in lines[0].split(" | ")][4] == "1 layer"


def test_list_json(run_ch_image: Runner, build: Any) -> None:
    build("x1", "RUN printf 123456 >/six")
    images = as_json(run_ch_image, "list", "--format=json")
    assert [image["name"] for image in images] == ["bb", "x1"]
    base, built = images
    keys = ["name", "reference", "id", "created", "size", "layers", "origin", "platform"]
    assert list(built) == [*keys, "store", "here", "in_place"]
    assert built["reference"] == "docker.io/library/x1:latest"
    assert built["size"] - base["size"] == 6
    assert (base["layers"], built["layers"]) == (1, 2)
    assert as_json(run_ch_image, "list", "--format=json", "x?") == [built]


def test_list_of_nothing(run_ch_image: Runner) -> None:
    assert run_ch_image("list", "-l").stdout == ""
    assert as_json(run_ch_image, "list", "--format=json") == []
    done = run_ch_image("list", "no*", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: no matching image: no*\nhint: ch-image list\n"


def test_list_patterns(run_ch_image: Runner, build: Any) -> None:
    for name in ("x:1", "x:2", "y"):
        run_ch_image("tag", "bb", name)
    assert run_ch_image("list", "x:*", "b?").stdout == "bb\nx:1\nx:2\n"
    assert run_ch_image("list", "x:*", "bb").stdout == "bb\nx:1\nx:2\n"


def test_details_of_an_image(run_ch_image: Runner, build: Any) -> None:
    build("one", "RUN printf 123456 >/six")
    details = dict(
        line.split(":", 1)
        for line in run_ch_image("list", "one").stdout.splitlines()
        if ":" in line
    )
    assert details["details of image"].strip() == "one"
    assert details["in local storage"].strip().startswith("yes (linux/")
    assert details["full reference"].strip() == "docker.io/library/one:latest"
    assert details["origin"].strip() == "ch-image build"
    assert run_ch_image("list", "one").stdout.splitlines()[-3].endswith("  6 B")
    done = run_ch_image("list", "nowhere", check=False)
    assert "in local storage:    no\n" in done.stdout


def test_history(run_ch_image: Runner, build: Any) -> None:
    build("one", "ENV A=b", "RUN printf 123456 >/six", "RUN true")
    lines = [line.split(" | ") for line in run_ch_image("history", "one").stdout.splitlines()]
    assert [(size.strip(), text) for _, size, text in lines[1:]] == [
        ("-", "ENV A='b'"),
        ("6 B", "RUN.S printf 123456 >/six"),
        ("-", "RUN.S true"),
    ]
    entries = as_json(run_ch_image, "history", "--format=json", "one")
    assert [entry["size"] for entry in entries[1:]] == [None, 6, None]
    assert [entry["empty_layer"] for entry in entries] == [False, True, False, True]
    assert [entry["created_by"] for entry in entries][:2] == ["ch-image import", "ENV A='b'"]
    layers = [layer["layer"] for layer in as_json(run_ch_image, "inspect", "one")[0]["layers"]]
    assert [entry["layer"] for entry in entries if entry["layer"]] == layers
    assert run_ch_image("history", "no", check=False).returncode == 1


def test_inspect(run_ch_image: Runner, build: Any) -> None:
    build("one", "ENV A=b", "RUN printf 123456 >/six")
    (image,) = as_json(run_ch_image, "inspect", "one")
    assert image["name"] == "one"
    assert image["config"]["config"]["Env"] == ["A=b"]
    assert image["layers"][0]["source"].startswith("sha256:")
    assert image["layers"][1]["instruction"] == "RUN.S printf 123456 >/six"
    assert image["layers"][1]["size"] == 6
    assert image["size"] == sum(layer["size"] for layer in image["layers"])
    assert [found["name"] for found in as_json(run_ch_image, "inspect", "one", "*")] == [
        "one",
        "bb",
    ]
    done = run_ch_image("inspect", "one", "no", check=False)
    assert (done.returncode, done.stdout) == (1, "")


def test_tag(run_ch_image: Runner, run_ch_run: Runner, build: Any) -> None:
    build("one", "RUN printf 123456 >/six")
    assert run_ch_image("tag", "one", "example.com/two:3").stderr == (
        "tagged one: example.com/two:3\n"
    )
    assert run_ch_image("list").stdout == "bb\nexample.com/two:3\none\n"
    images = as_json(run_ch_image, "list", "--format=json")
    assert images[1]["id"] == images[2]["id"] != images[0]["id"]
    run_ch_image("delete", "one")
    assert run_ch_run("example.com/two:3", "--", "/bin/cat", "/six").stdout == "123456"
    for arguments in (("no", "x"), ("bb", "Bad")):
        assert run_ch_image("tag", *arguments, check=False).returncode == 1
    assert run_ch_image("list").stdout == "bb\nexample.com/two:3\n"


def test_cache_summary_and_tree(run_ch_image: Runner, build: Any) -> None:
    build("one", "RUN printf 1 >/1", "RUN printf 2 >/2")
    build("two", "RUN printf 1 >/1", "RUN printf 33 >/3")
    build("two", "RUN printf 1 >/1", "RUN printf 444 >/4")
    base = as_json(run_ch_image, "list", "bb", "--format=json")[0]["size"]
    assert run_ch_image("build-cache").stdout.splitlines() == [
        "named images:      3",
        "cached results:    4",
        f"layers:            5, {human_size(base + 7)}",
        "only in the cache: 1, 2 B",
    ]
    assert run_ch_image("build-cache", "--tree").stdout.splitlines()[:6] == [
        f"* (bb) {as_json(run_ch_image, 'inspect', 'bb')[0]['origin']}",
        "* RUN.S printf 1 >/1",
        "|-* (one) RUN.S printf 2 >/2",
        "|-* RUN.S printf 33 >/3",
        "* (two) RUN.S printf 444 >/4",
        "",
    ]
    value = as_json(run_ch_image, "build-cache", "--tree", "--format=json")
    assert {key: value[key] for key in value if key != "tree"} == {
        "images": 3,
        "entries": 4,
        "layers": 5,
        "size": base + 7,
        "cache_only_layers": 1,
        "cache_only_size": 2,
        "held_layers": 0,
        "held_size": 0,
    }
    by_layer = {node["layer"]: node for node in value["tree"]}
    lone = next(node for node in value["tree"] if not node["is_in_image"])
    assert lone["origin"] == "RUN.S printf 33 >/3"
    assert by_layer[lone["parent"]]["origin"] == "RUN.S printf 1 >/1"


def test_cache_gc_keeps_what_images_are_made_of(
    run_ch_image: Runner, build: Any, storage: Path
) -> None:
    build("one", "RUN printf 1 >/1", "RUN true", "RUN printf 2 >/2")
    kept = layer_ids(storage)
    build("two", "RUN printf 3 >/3", "RUN true")
    run_ch_image("delete", "two")
    assert len(layer_ids(storage)) == len(kept) + 1  # a cache entry needs the layer
    assert "forgot 2 results" in run_ch_image("build-cache", "--gc").stderr
    assert layer_ids(storage) == kept
    assert as_json(run_ch_image, "build-cache", "--format=json")["cache_only_layers"] == 0
    assert not os.listdir(storage / "tmp/trash")


def test_cache_reset_leaves_the_images(
    run_ch_image: Runner, run_ch_run: Runner, build: Any, storage: Path
) -> None:
    build("one", "RUN printf 1 >/1")
    build("two", "RUN printf 2 >/2")
    run_ch_image("delete", "two")
    run_ch_image("build-cache", "--reset")
    value = as_json(run_ch_image, "build-cache", "--format=json")
    assert (value["images"], value["entries"], value["layers"]) == (2, 0, 2)
    assert run_ch_run("one", "--", "/bin/cat", "/1").stdout == "1"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (5 << 30, "5.0 GiB"),
        (1 << 52, "4096.0 TiB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert human_size(size) == text
