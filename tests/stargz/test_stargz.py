"""What ctr-remote makes starts here before it is here, and the stargz snapshotter reads ours."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from tests.conftest import run_program
from tests.image.seen import DEVICES, OF_ONE, STEPS, differences_when_lazy, tree_of

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.stargz import Daemons

    from tests.conftest import Completed, RootHelper, Runner

WAYS = {
    "estargz": ("convert", "--oci", "--estargz"),
    "small": ("convert", "--oci", "--estargz", "--estargz-chunk-size=65536"),
    "joined": ("convert", "--oci", "--estargz", "--estargz-min-chunk-size=300000"),
    "zstd": ("convert", "--oci", "--zstdchunked"),
    "optimized": ("optimize", "--oci", "--no-optimize"),
}
LANDMARKS = (".no.prefetch.landmark", ".prefetch.landmark")
# Names in several layers, one of them a hard link.
FIRST = "/noise\n/d/again\n/d/b\n/a\n/bin/busybox\n"


def ctr(daemons: Daemons, *words: str) -> Completed:
    """Run ctr-remote."""
    return run_program(["ctr-remote", "--address", str(daemons.socket), *words], timeout=600)


@pytest.fixture
def built(run_ch_image: Runner, busybox_tar: Path, tmp_path: Path) -> Path:
    """Build the image ``img``; return the archive of its tree."""
    run_ch_image("import", busybox_tar, "base")
    (tmp_path / "Dockerfile").write_text(STEPS + DEVICES)
    out = tmp_path / "out.tar"
    words = ["build", "--force=notify", "-t", "img", f"--output=type=tar,dest={out}"]
    run_ch_image(*words, tmp_path)
    return out


@pytest.mark.usefixtures("built")
def test_images_of_ctr_remote(
    daemons: Daemons, registry: str, run_ch_image: Runner, tmp_path: Path
) -> None:
    source = f"{registry}/plain:1"
    run_ch_image("push", "img", source)
    ctr(daemons, "content", "fetch", "--plain-http", source)
    for name, words in WAYS.items():
        target = f"{registry}/{name}:1"
        ctr(daemons, "images", *words, source, target)
        ctr(daemons, "images", "push", "--plain-http", target)
        (tmp_path / name).mkdir()
        # Its table of contents has whole seconds.
        assert differences_when_lazy(target, tmp_path / name, times=False) == [], name


@pytest.mark.parametrize("first", ["", FIRST])
def test_the_snapshotter_reads_what_we_push(
    *,
    daemons: Daemons,
    registry: str,
    run_ch_image: Runner,
    built: Path,
    tmp_path: Path,
    root_helper: RootHelper,
    first: str,
) -> None:
    """It shows the tree that Sundog writes itself, and containerd fetches no layer."""
    source = f"{registry}/ours:{len(first)}"
    (tmp_path / "first").write_text(first)
    words = [f"--first={tmp_path}/first"] if first else []
    run_ch_image("push", "--compression=estargz", *words, "img", source)
    archive = tmp_path / "stargz.tar"
    answer = root_helper.ask("show-with-stargz", source=source)
    archive.write_bytes(base64.b64decode(answer["tar"]))
    assert tree_of(archive) == tree_of(built, hidden=(*OF_ONE, *LANDMARKS))
    manifest = json.loads(run_ch_image("inspect", "--remote", source).stdout)
    kept = ctr(daemons, "content", "ls", "-q").stdout.split()
    assert manifest["config"]["digest"] in kept
    assert not {layer["digest"] for layer in manifest["layers"]} & {*kept}
