"""``ch-image`` with images of one name for several platforms: rows, choices, ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sundog.image.oci.platform import Platform
from sundog.image.store.store import Store
from sundog.image.transfer.importer import import_image

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner

HOST = str(Platform.of_host())
FOREIGN = ("arm/v6", "riscv64")


@pytest.fixture
def platforms(storage: Path, tmp_path: Path) -> None:
    """Put "x" into storage for three platforms, and "far" for two foreign ones."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    with Store.open(str(storage)) as store:
        for arch in (None, *FOREIGN):
            platform = None if arch is None else Platform.parse(arch)
            (root / "etc" / "which").write_text(arch or "host")
            import_image(store, str(root), "x", platform)
            if arch:
                import_image(store, str(root), "far", platform)


def rows(run_ch_image: Runner, *words: str) -> list[tuple[str, str]]:
    """Return name and platform of each row of "list --format=json"."""
    images = json.loads(run_ch_image("list", "--format=json", *words).stdout)
    return [(image["name"], image["platform"]) for image in images]


@pytest.mark.usefixtures("platforms")
def test_lists_have_a_row_for_each_platform(run_ch_image: Runner) -> None:
    far = [("far", "linux/arm/v6"), ("far", "linux/riscv64")]
    everything = [*far, ("x", HOST), ("x", "linux/arm/v6"), ("x", "linux/riscv64")]
    assert rows(run_ch_image) == everything
    assert rows(run_ch_image, "x") == everything[2:]
    assert rows(run_ch_image, "-a", "riscv64") == [far[1], everything[4]]
    assert rows(run_ch_image, "-a", "arm/v7", "x") == [everything[3]]
    assert run_ch_image("list").stdout == "far\nx\n"
    assert run_ch_image("list", "-a", "arm/v6", "*").stdout == "far\nx\n"
    table = [line.split(" | ") for line in run_ch_image("list", "-l", "x").stdout.splitlines()]
    assert [row[5].strip() for row in table] == [platform for _, platform in everything[2:]]
    details = run_ch_image("list", "x").stdout
    assert f"yes ({HOST})" in details
    assert "linux/riscv64" in details
    assert "yes (linux/riscv64)" in run_ch_image("list", "-a", "riscv64", "x").stdout
    found = json.loads(run_ch_image("inspect", "-a", "riscv64", "x").stdout)
    assert [image["config"]["architecture"] for image in found] == ["riscv64"]


@pytest.mark.usefixtures("platforms")
def test_a_name_means_one_image(run_ch_image: Runner) -> None:
    for words in (("history", "far"), ("tag", "far", "y"), ("delete", "far")):
        done = run_ch_image(*words, check=False)
        assert done.returncode == 1
        assert "is in storage for linux/arm/v6, linux/riscv64, not for" in done.stderr
        assert "hint: choose one: --arch=arm/v6" in done.stderr
    run_ch_image("tag", "-a", "riscv64", "far", "y")
    run_ch_image("tag", "-a", "arm/v6", "far", "y")
    assert rows(run_ch_image, "y") == [("y", "linux/arm/v6"), ("y", "linux/riscv64")]


@pytest.mark.usefixtures("platforms")
def test_delete_takes_the_one_that_is_meant(run_ch_image: Runner) -> None:
    done = run_ch_image("delete", "x")
    assert done.stderr == (
        f"deleting image: x ({HOST})\nstill in storage: x: linux/arm/v6, linux/riscv64\n"
    )
    run_ch_image("delete", "-a", "riscv64", "x", "far")
    assert rows(run_ch_image) == [("far", "linux/arm/v6"), ("x", "linux/arm/v6")]
    done = run_ch_image("delete", "-a", "riscv64", "x", check=False)
    assert done.returncode == 1
    assert run_ch_image("delete", "far").stderr == "deleting image: far\n"
    run_ch_image("undelete", "x", "-a", "riscv64", check=False)  # its layer may be gone
    run_ch_image("delete", "*")
    assert rows(run_ch_image) == []
