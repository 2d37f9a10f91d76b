"""Everything that lists does so in JSON, too, in the documented shape, whatever an image says."""

from __future__ import annotations

import json
from types import NoneType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Runner

# A shape: a type, a tuple of types, [SHAPE] for a list, or {key: SHAPE} for an object with exactly
# these keys.  ``dict`` is an object of another specification.
TEXT_OR_NONE = (str, NoneType)
IMAGE = {
    "name": str,
    "reference": str,
    "id": str,
    "created": str,
    "size": int,
    "layers": int,
    "origin": str,
    "platform": str,
    "store": TEXT_OR_NONE,
    "here": (int, NoneType),
    "in_place": TEXT_OR_NONE,
}
ENTRY = {
    "created": str,
    "created_by": str,
    "comment": str,
    "author": str,
    "empty_layer": bool,
    "layer": TEXT_OR_NONE,
    "size": (int, NoneType),
}
LAYER = {"layer": str, "size": int, "instruction": str, "source": str, "diff_id": str}
INSPECTED = {
    "name": str,
    "reference": str,
    "id": str,
    "created": str,
    "origin": str,
    "size": int,
    "layers": [LAYER],
    "force": [str],
    "annotations": dict,
    "config": dict,
    "store": TEXT_OR_NONE,
}
CACHE = {
    "images": int,
    "entries": int,
    "layers": int,
    "size": int,
    "cache_only_layers": int,
    "cache_only_size": int,
    "held_layers": int,
    "held_size": int,
}
NODE = {
    "layer": str,
    "parent": str,
    "origin": str,
    "size": int,
    "images": [str],
    "is_in_image": bool,
}
USAGE = {
    "storage": str,
    "images": [
        {
            "name": str,
            "reference": str,
            "platform": str,
            "own": int,
            "shared": int,
            "last_use": TEXT_OR_NONE,
        }
    ],
    "images_size": int,
    "containers": int,
    "build_cache": int,
    "cache_mounts": int,
    "downloads": int,
    "held": int,
    "total": int,
}
COLLECTED = {
    "dry_run": bool,
    "removed": [
        {
            "kind": str,
            "name": str,
            "platform": TEXT_OR_NONE,
            "last_use": str,
            "freed": int,
        }
    ],
    "total": int,
    "left": int,
}
SHAPES: dict[str, Any] = {
    "list --format=json": [IMAGE],
    "list -l --format json": [IMAGE],
    "list --format json x": [IMAGE],
    "list -l --format=json x b*": [IMAGE],
    "history --format=json x": [ENTRY],
    "inspect x b*": [INSPECTED],
    "inspect --format=json x": [INSPECTED],
    "build-cache --format=json": CACHE,
    "build-cache --tree --format=json": {**CACHE, "tree": [NODE]},
    "usage --format=json": USAGE,
    "gc --dry-run --format=json": COLLECTED,
    "gestalt --format=json storage-path": {"storage_path": str},
}
HOSTILE = "\x1b[2J\x9b\u202e\x07\u2028"


def check(value: Any, shape: Any, place: str = "") -> None:
    """Fail unless ``value`` has the ``shape``."""
    if isinstance(shape, list):
        assert type(value) is list, place
        assert value or place, place
        for number, item in enumerate(value):
            check(item, shape[0], f"{place}[{number}]")
    elif isinstance(shape, dict):
        assert type(value) is dict, place
        assert value.keys() == shape.keys(), place
        for key, item in value.items():
            check(item, shape[key], f"{place}.{key}")
    else:
        assert type(value) in (shape if isinstance(shape, tuple) else (shape,)), place


@pytest.fixture(scope="module")
def hostile(busybox_tar: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Make images full of characters that terminals obey; return a function that runs ch-image."""
    from tests.conftest import runner

    place = tmp_path_factory.mktemp("json")
    run: Runner = runner("ch-image", place / "storage")
    archive = place / f"bb{HOSTILE}.tar"
    archive.symlink_to(busybox_tar)
    run("import", archive, "bb")
    (place / "Dockerfile").write_text(
        f'FROM bb\nLABEL "a{HOSTILE}"="{HOSTILE}\\n"\nRUN : "{HOSTILE}" >/x\n'
    )
    run("build", "-t", "x", place)
    (place / "Dockerfile").write_text('FROM bb\nRUN echo "only in the cache" >/x\n')
    run("build", "-t", "y", place)
    run("delete", "y")
    return lambda line: run(*line.split()).stdout


@pytest.mark.parametrize("line", SHAPES)
def test_shapes(hostile: Callable[..., str], line: str) -> None:
    text = hostile(line)
    assert text.endswith("\n")
    assert text.isascii()
    assert all(character.isprintable() or character == "\n" for character in text)
    check(json.loads(text), SHAPES[line])


def test_hostile_text_arrives_unchanged(hostile: Callable[..., str]) -> None:
    (image,) = json.loads(hostile("inspect x"))
    assert image["config"]["config"]["Labels"][f"a{HOSTILE}"].startswith(HOSTILE)
    (base,) = json.loads(hostile("list --format=json bb"))
    assert HOSTILE in base["origin"]
    history = json.loads(hostile("history --format=json x"))
    assert any(HOSTILE in entry["created_by"] for entry in history)


def test_an_empty_storage(run_ch_image: Runner, storage: Path) -> None:
    assert json.loads(run_ch_image("list", "-l", "--format=json").stdout) == []
    check(json.loads(run_ch_image("build-cache", "--format=json").stdout), CACHE)
    done = run_ch_image("list", "--format=json", "nothing", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    value = json.loads(run_ch_image("gestalt", "--format=json", "storage-path").stdout)
    assert value == {"storage_path": str(storage)}
