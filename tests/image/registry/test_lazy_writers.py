"""Images that other programs wrote as zstd:chunked start before they are here, as they are.

Those of ctr-remote are in tests/stargz.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import run_program
from tests.image.pull.conftest import engine
from tests.image.seen import DEVICES, STEPS, differences_when_lazy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner


def by_skopeo(archive: Path, target: str, place: Path) -> None:
    line = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
    line += ["--dest-compress-format=zstd:chunked", f"oci-archive:{archive}", f"docker://{target}"]
    # It remembers blobs that it has seen, and then sends them as they were.
    run_program(line, env={"XDG_DATA_HOME": str(place / "skopeo")})


def by_podman(archive: Path, target: str, place: Path) -> None:
    podman = engine("podman", place)
    loaded = podman("load", "--quiet", f"--input={archive}").split()[-1]
    options = ("--tls-verify=false", "--compression-format=zstd:chunked", "--force-compression")
    podman("push", "--quiet", *options, loaded, f"docker://{target}")


WRITERS = {"skopeo": by_skopeo, "podman": by_podman}


@pytest.mark.usefixtures("fuse")
@pytest.mark.parametrize("writer", WRITERS)
def test_images_of_others(
    *, writer: str, tmp_path: Path, busybox_tar: Path, run_ch_image: Runner, registry: str
) -> None:
    run_ch_image("import", busybox_tar, "base")
    (tmp_path / "Dockerfile").write_text(STEPS + DEVICES)
    run_ch_image("build", "--force=notify", "-t", "img", tmp_path)
    archive = tmp_path / "img.tar"
    run_ch_image("save", "--compression=none", "-o", archive, "img")
    WRITERS[writer](archive, f"{registry}/by/{writer}:1", tmp_path)
    assert differences_when_lazy(f"{registry}/by/{writer}:1", tmp_path) == []
