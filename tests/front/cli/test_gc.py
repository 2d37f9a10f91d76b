"""``ch-image usage`` and ``gc``."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner

DAY = 86400


@pytest.fixture
def old(run_ch_image: Runner, busybox_tree: Path, storage: Path, tmp_path: Path) -> Runner:
    """Return ch-image with images bb and app, 9 days old, and a result that no image has."""
    (busybox_tree / "unlike").write_bytes(os.urandom(8))  # no other container has this layer
    run_ch_image("import", busybox_tree, "bb")
    for name in ("gone", "app"):
        (tmp_path / "Dockerfile").write_text(f"FROM bb\nRUN echo {name} >/{name}\n")
        run_ch_image("build", "-q", "-t", name, tmp_path)
    run_ch_image("delete", "gone")
    then = time.time() - 9 * DAY
    for place in (*storage.glob("images/*/stack"), *storage.glob("cache/*")):
        os.utime(place, (then, then), follow_symlinks=False)
    return run_ch_image


def test_usage(old: Runner, run_ch_run: Runner) -> None:
    found = json.loads(old("usage", "--format=json").stdout)
    images = {image["name"]: image for image in found["images"]}
    assert images.keys() == {"app", "bb"}
    assert images["bb"]["own"] == 0
    assert (images["app"]["own"], images["app"]["shared"]) == (4, images["bb"]["shared"])
    assert found["build_cache"] == 5
    assert found["images_size"] == images["bb"]["shared"] + 4
    assert found["total"] == found["images_size"] + found["build_cache"] + found["downloads"]
    assert images["app"]["last_use"] < time.strftime("%Y-%m-%d", time.gmtime())
    run_ch_run("app", "--", "true")
    lines = old("usage").stdout.splitlines()
    cells = [cell.strip() for cell in lines[0].split(" | ")]
    assert (cells[0], cells[2]) == ("app", "4 B")
    assert cells[4] > time.strftime("%Y-%m-%d", time.gmtime(time.time() - DAY))
    assert "only in the build cache:  5 B" in lines


def test_gc(old: Runner, run_ch_run: Runner, storage: Path) -> None:
    layers = storage / "layers"
    dry = old("gc", "--dry-run", "--all", "--keep-days=3").stdout
    rows = [[cell.strip() for cell in line.split(" | ")] for line in dry.splitlines()[:-1]]
    assert rows[0][2:] in (["image", "app"], ["image", "bb"])
    assert ["result", "RUN.S echo gone >/gone"] in [row[2:] for row in rows]
    assert dry.splitlines()[-1].startswith("would free ")
    assert len(os.listdir(layers)) == 3

    assert old("gc", "--keep-days", "30").stdout.startswith("freed 0 B of ")
    run_ch_run("app", "--", "true")
    done = old("gc", "--keep-days", "3", "--all")
    assert "image" not in done.stdout.partition("| image")[0]
    assert old("list").stdout == "app\n"  # a start counts
    assert len(os.listdir(layers)) == 2
    assert run_ch_run("app", "--", "/bin/cat", "/app").stdout == "app\n"


def test_a_size(old: Runner) -> None:
    done = old("gc", "--max-size", "1")
    assert done.stderr.count("warning: ") == 1
    assert "result" in done.stdout
    assert "more than 1 B: containers or commands use them, or are images, which" in done.stderr
    assert old("list").stdout == "app\nbb\n"
    assert json.loads(old("gc", "--max-size=1", "--all", "--format=json").stdout)["left"] == 0
    assert old("list").stdout == ""


def test_a_running_container_keeps_its_image(
    old: Runner, run_ch_run: Runner, storage: Path
) -> None:
    started = subprocess.Popen(
        [*command("ch-run"), "--storage", storage, "app", "--", "sh", "-c", "echo; cat; cat /app"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "\n"
    then = time.time() - 9 * DAY
    for stack in storage.glob("images/*/stack"):
        os.utime(stack, (then, then))
    old("gc", "--all", "--max-size=0")
    assert old("list").stdout == "app\nbb\n"  # the container has mounted the layer of bb, too
    assert started.communicate("")[0] == "app\n"
    old("gc", "--all", "--keep-days=0")
    assert old("list").stdout == ""


def test_the_configuration_bounds_builds(old: Runner, storage: Path, tmp_path: Path) -> None:
    """What was used in the last hour stays."""
    settings = tmp_path / "settings" / "sundog" / "sundog.toml"
    settings.parent.mkdir(parents=True)
    own = {"XDG_CONFIG_HOME": str(tmp_path / "settings")}

    def build(text: str) -> str:
        settings.write_text(text)
        (tmp_path / "Dockerfile").write_text("FROM bb\nRUN echo new >/new\n")
        return old("build", "-t", "new", tmp_path, env=own).stderr

    assert "storage:" not in build("[messages]\nhint = 'x'\n")
    assert len(os.listdir(storage / "layers")) == 4
    done = build("[gc]\nkeep_days = 3\n")
    assert done.splitlines()[-1] == "storage: removed what was used least recently: 1, 5 B"
    assert old("list").stdout == "app\nbb\nnew\n"
    assert "storage: removed" in build("[gc]\nmax_size = '0'\nall = true\n")
    assert old("list").stdout == "bb\nnew\n"  # bb was used by the build
    settings.write_text("[gc]\nmax_size = 5\n")
    refused = old("gc", env=own, check=False)
    assert refused.returncode == 1
    assert "gc.max_size: expected a size such as 50G or 1.5T, in powers of 1024" in refused.stderr
    settings.write_text("[gc]\nkeep_days = 3\n")
    assert old("gc", env=own).stdout.startswith("freed 0 B of ")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--max-size=50X", "not a size such as 50G, 1.5T or 800M: 50X"),
        ("--max-size=-1", "not a size such as 50G, 1.5T or 800M: -1"),
        ("--keep-days=soon", "not a number of days: soon"),
    ],
)
def test_mistakes(run_ch_image: Runner, option: str, message: str) -> None:
    done = run_ch_image("gc", option, check=False)
    assert done.returncode == 2
    assert message in done.stderr
