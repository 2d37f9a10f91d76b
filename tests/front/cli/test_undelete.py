"""``ch-image undelete`` and ``list -u``."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner


@pytest.fixture
def built(run_ch_image: Runner, bb: str, tmp_path: Path) -> Runner:
    """Build ``new`` from ``bb``, with an ENV and a file."""
    (tmp_path / "Dockerfile").write_text("FROM bb\nENV A=1\nRUN echo 1 >/1\n")
    run_ch_image("build", "-t", "new", tmp_path)
    return run_ch_image


def listed(run_ch_image: Runner, *options: str) -> list[str]:
    return run_ch_image("list", *options).stdout.split()


def test_deleted_image_comes_back_as_it_was(built: Runner, run_ch_run: Runner) -> None:
    before = built("inspect", "new").stdout
    built("delete", "new")
    assert listed(built) == ["bb"]
    assert listed(built, "-u") == listed(built, "--undeleteable") == ["new"]
    assert built("undelete", "new").stderr == "restored image: new\n"
    assert built("inspect", "new").stdout == before
    assert run_ch_run("new", "--", "/bin/cat", "/1").stdout == "1\n"
    assert listed(built, "-u") == []


def test_restored_image_keeps_its_layers(built: Runner, run_ch_run: Runner) -> None:
    built("delete", "new")
    built("undelete", "docker.io/library/new:latest")
    built("build-cache", "--gc")
    assert run_ch_run("new", "--", "/bin/cat", "/1").stdout == "1\n"


@pytest.mark.parametrize("option", ["--gc", "--reset"])
def test_garbage_collection_forgets_deleted_images(built: Runner, option: str) -> None:
    built("delete", "new")
    built("build-cache", option)
    assert listed(built, "-u") == []
    done = built("undelete", "new", check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        "error: image not in cache: new",
    )


def test_image_whose_base_was_deleted_is_gone(built: Runner, storage: Path) -> None:
    """The base was imported, so its layer is only in images; deleting must free the space."""
    built("delete", "new")
    built("delete", "bb")
    assert listed(built, "-u") == []
    assert "image not in cache: new" in built("undelete", "new", check=False).stderr
    assert list((storage / "deleted").iterdir()) == []


def test_no_image_is_overwritten(built: Runner) -> None:
    built("tag", "bb", "other")
    built("delete", "other")
    built("tag", "new", "other")
    assert listed(built, "-u") == []
    done = built("undelete", "other", check=False)
    assert done.stderr.startswith("error: image exists; will not overwrite: other\n")
    assert done.returncode == 1


def test_the_last_image_of_a_name_counts(built: Runner) -> None:
    for base in ("bb", "new"):
        built("tag", base, "x")
        built("delete", "x")
    built("undelete", "x")
    (new, x) = json.loads(built("inspect", "new", "x").stdout)
    assert new["id"] == x["id"]


@pytest.mark.parametrize("option", ["--no-cache", "--rebuild"])
def test_cache_must_be_enabled(built: Runner, option: str) -> None:
    done = built("undelete", option, "new", check=False)
    assert done.stderr.startswith("error: undelete: only available when cache is enabled\n")


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"image": {"layers": 1}}'])
def test_damaged_description(built: Runner, storage: Path, damage: str) -> None:
    built("delete", "new")
    (description,) = (storage / "deleted").iterdir()
    description.write_text(damage)
    assert listed(built, "-u") == []
    assert "image not in cache: new" in built("undelete", "new", check=False).stderr


def test_layer_that_another_program_deleted(built: Runner, storage: Path) -> None:
    layers = json.loads(built("inspect", "new").stdout)[0]["layers"]
    built("delete", "new")
    shutil.rmtree(storage / "layers" / layers[-1]["layer"])
    done = built("undelete", "new", check=False)
    assert "its layers have been removed" in done.stderr


def test_reset_forgets_deleted_images(built: Runner, storage: Path) -> None:
    built("delete", "new")
    built("reset")
    assert listed(built, "-u") == []
    assert not (storage / "deleted").exists() or not list((storage / "deleted").iterdir())
