"""BuildKit reads what Sundog has pushed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.conftest import run_program
from tests.image.seen import tree_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.buildkit.conftest import Builders

PLATFORMS = ("linux/amd64", "linux/arm64", "linux/riscv64")
STEPS = """\
FROM base
COPY --chown=5:6 --chmod=640 a /a
RUN --network=none echo b >/b && mkdir -m 2770 /c && chown 7:8 /c
WORKDIR /d/e
"""


@pytest.fixture(scope="module")
def base(builders: Builders, busybox_tar: Path) -> str:
    """Put busybox into storage and the registry; return its name there."""
    builders.ch_image("import", busybox_tar, "base")
    name = f"{builders.host}/base:1"
    builders.ch_image("push", "base", name)
    return name


def test_an_index(builders: Builders, tmp_path: Path) -> None:
    """It gets each platform of an index, and shows the index that was pushed."""
    root = tmp_path / "root"
    root.mkdir()
    for platform in PLATFORMS:
        (root / "which").write_text(platform)
        builders.ch_image("import", "-a", platform.removeprefix("linux/"), root, "several")
    name = f"{builders.host}/several:1"
    builders.ch_image("push", "several", name)
    for platform in PLATFORMS:
        tree = builders.read(name, f"--platform={platform}")
        assert tree["which"][-1] == platform.encode()
    shown = builders.docker("buildx", "imagetools", "inspect", "--raw", name).stdout
    assert json.loads(shown) == json.loads(builders.ch_image("inspect", "--remote", name).stdout)


@pytest.mark.parametrize("compression", ["gzip", "zstd", "zstd:chunked", "estargz"])
def test_a_pushed_image(builders: Builders, base: str, compression: str) -> None:
    """The tree is that of the archive that Sundog writes itself."""
    context = builders.directory("steps", STEPS)
    (context / "a").write_text("a\n")
    out = builders.place / "own.tar"
    builders.ch_image("build", f"--output=type=tar,dest={out}", "-t", "built", context)
    name = f"{builders.host}/built:{compression.replace(':', '-')}"
    builders.ch_image("push", f"--compression={compression}", "built", name)
    found = builders.read(name)
    assert found == tree_of(out)


def test_entries_of_a_shared_cache(builders: Builders, base: str) -> None:
    """Each entry is an image with the one layer of its step."""
    context = builders.directory("cached", STEPS)
    (context / "a").write_text("a\n")
    repository = f"{builders.host}/cache"
    builders.ch_image("build", "--rebuild", "--cache-to", repository, "-t", "cached", context)
    line = ["skopeo", "list-tags", "--tls-verify=false", f"docker://{repository}"]
    tags = json.loads(run_program(line).stdout)["Tags"]
    entries = [set(builders.read(f"{repository}:{tag}")) for tag in tags]
    assert sorted(map(sorted, entries)) == [["a"], ["b", "c"], ["d", "d/e"]]
