"""The bounds of unpacking: the user gets one line, and a hint that names the option."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.hostile.cases import BASE_LAYER, docker
from tests.image.layer.archives import archive, directory, file

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Completed, Runner

# A ch-image with small default bounds.
SMALL = """
import sys
from sundog.image.layer import limits
limits.set_limits(limits.Limits(ratio=50, free=1 << 20, entries=40, documents=100_000))
from sundog.front.cli.image_command import run
sys.exit(run(sys.argv[1:]))
"""
BOMB = archive(directory("etc"), file("zeros", bytes(4 << 20))).getvalue()
MANY = archive(directory("etc"), *(file(f"etc/{n}") for n in range(50))).getvalue()


@pytest.fixture
def small(tmp_path: Path) -> Runner:
    """Return a function that runs ch-image with small bounds, in a storage of its own."""

    def run(*arguments: str | os.PathLike[str], **_: object) -> Completed:
        env = os.environ | {"CH_IMAGE_STORAGE": str(tmp_path / "storage")}
        return subprocess.run(
            [sys.executable, "-c", SMALL, *arguments],
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


@pytest.mark.parametrize(
    ("command", "data", "says"),
    [
        ("import", gzip.compress(BOMB), "zeros: it unpacks to over 50 times what was fetched"),
        ("import", MANY, "more than 40 entries"),
        ("load", gzip.compress(docker(BOMB)()), "it unpacks to over 50 times what was fetched"),
        # The layers are unpacked together, so either may be the one with an entry too many.
        ("load", docker(MANY)(), "more than 40 entries"),
        ("load", docker(Labels={"a": "x" * 200_000})(), "its documents take more than 100,000"),
    ],
    ids=["bytes", "entries", "bytes of an image", "entries of a layer", "documents"],
)
def test_refused_unless_told_otherwise(
    *, small: Runner, tmp_path: Path, command: str, data: bytes, says: str
) -> None:
    path = tmp_path / "archive"
    path.write_bytes(data)
    done = small(command, path, "img")
    assert done.returncode == 1
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert says in error
    assert small("list").stdout == ""
    assert "hint: if you trust it, --no-limits takes it as it is" in done.stderr
    for arguments in (["--no-limits", command], [command, "--no-limits"]):
        done = small(*arguments, path, "img")
        assert done.returncode == 0, done.stderr
        assert small("list").stdout == "img\n"
        small("delete", "img")


def test_one_layer_again_and_again_counts_once(small: Runner, tmp_path: Path) -> None:
    marked = archive(file(".wh.gone"), file("zeros", bytes(1 << 20))).getvalue()
    path = tmp_path / "archive"
    path.write_bytes(gzip.compress(docker(*[marked] * 20)()))
    done = small("load", path, "img")
    assert "it unpacks to over 50 times" in done.stderr


def test_build_and_add(small: Runner, tmp_path: Path) -> None:
    (tmp_path / "base").write_bytes(BASE_LAYER)
    (tmp_path / "context").mkdir()
    (tmp_path / "context/bomb.tgz").write_bytes(gzip.compress(BOMB))
    (tmp_path / "context/Dockerfile").write_text("FROM base\nADD bomb.tgz /there/\n")
    assert small("import", tmp_path / "base", "base").returncode == 0
    done = small("build", "-t", "img", tmp_path / "context")
    assert done.returncode == 1
    assert "can't unpack bomb.tgz: zeros: it unpacks to over 50 times" in done.stderr
    assert "--no-limits" in done.stderr
    done = small("build", "--no-limits", "-t", "img", tmp_path / "context")
    assert done.returncode == 0, done.stderr


def test_a_terabyte_all_the_way(*, driver: str, run_ch_image: Runner, tmp_path: Path) -> None:
    """COPY, import, save and load keep the hole."""
    assert driver
    context = tmp_path / "context"
    context.mkdir()
    with (context / "hole").open("wb") as hole:
        hole.truncate(1 << 40)
        hole.seek(1 << 39)
        hole.write(b"middle")
    (context / "Dockerfile").write_text(
        "FROM base AS one\nCOPY hole /a\nFROM base\nCOPY --from=one /a /b\n"
    )
    (tmp_path / "base").write_bytes(BASE_LAYER)
    run_ch_image("import", tmp_path / "base", "base")
    run_ch_image("build", "-t", "img", context)
    for form in ("docker-archive", "oci-archive"):
        out = tmp_path / form
        run_ch_image("save", f"--format={form}", "-o", out, "img")
        assert out.stat().st_size < 1 << 20
        run_ch_image("load", out, f"again-{form}")
    run_ch_image("import", context, "directory")
    used = subprocess.run(
        ["du", "-s", "--block-size=1M", tmp_path], check=True, capture_output=True, text=True
    )
    assert int(used.stdout.split()[0]) < 50
    with tarfile.open(tmp_path / "docker-archive") as outer:
        layer = [name for name in outer.getnames() if name.endswith(".tar")][-1]
        stream = outer.extractfile(layer)
        assert stream is not None
        with tarfile.open(fileobj=io.BytesIO(stream.read())) as inner:
            sizes = {member.name: member.size for member in inner}
    assert sizes["b"] == 1 << 40
