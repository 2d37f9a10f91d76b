"""``build --network``, ``--annotation``, ``--ignorefile``, ``--timestamp``."""

from __future__ import annotations

import json
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.builder.conftest import Workshop


@pytest.fixture
def shop(any_workshop: Workshop) -> Workshop:
    any_workshop.write({"a": "one\n", "b": "two\n"})
    return any_workshop


def test_network(shop: Workshop) -> None:
    """RUN has the network that it names, else that of the option; the cache tells them apart."""
    show = "readlink /proc/self/ns/net && ip -o link show up"
    dockerfile = f"FROM bb\nRUN {show}\nRUN --network=host {show} #2\n"
    dockerfile += f"RUN --network=default {show} #3\n"
    host = os.readlink("/proc/self/ns/net")
    assert shop.build(dockerfile).stdout.count(host) == 3
    done = shop.build(dockerfile.replace("#2", "#4"), "--network=none")
    assert done.stdout.count("net:[") == 3
    assert done.stdout.count(host) == 1
    lines = done.stdout.splitlines()
    assert "lo:" in lines[1]
    assert lines[2].startswith("net:[")  # lo is the only one
    assert "net:[" not in shop.build(dockerfile, "--network=none").stdout
    done = shop.build(dockerfile, "--network=host")
    assert "net:[" not in done.stdout  # from the first build


def test_annotations(shop: Workshop, tmp_path: Path) -> None:
    """Storage keeps them, under a further name too, and what leaves has them."""
    dockerfile = "FROM scratch\nCOPY a /\n"
    described = tmp_path / "described"
    wanted = {"org.example:x": "a=b", "two": ""}
    options = [f"--annotation={name}={value}" for name, value in wanted.items()]
    direct = tmp_path / "direct"
    shop.build(dockerfile, *options, f"--metadata-file={described}")
    shop.build(dockerfile, *options, f"--output=type=oci,tar=false,dest={direct}")
    shop.ch_image("tag", "img", "other")
    [found] = json.loads(shop.ch_image("inspect", "other").stdout)
    assert found["annotations"] == wanted
    shop.ch_image("save", "--format=oci-dir", "-o", tmp_path / "layout", "other")
    for layout in (tmp_path / "layout", direct):
        [entry] = json.loads((layout / "index.json").read_text())["manifests"]
        digest = entry["digest"].partition(":")[2]
        assert json.loads((layout / "blobs/sha256" / digest).read_text())["annotations"] == wanted
        assert json.loads(described.read_text())["containerimage.digest"] == f"sha256:{digest}"
    shop.build(dockerfile, "--annotation=manifest:two=2")
    [found] = json.loads(shop.ch_image("inspect", "img").stdout)
    assert found["annotations"] == {"two": "2"}
    shop.build(dockerfile)
    [found] = json.loads(shop.ch_image("inspect", "img").stdout)
    assert found["annotations"] == {}


def test_ignorefile(shop: Workshop, tmp_path: Path) -> None:
    """Its patterns count, and those of the context's own file do not."""
    shop.write({".dockerignore": "a\n"})
    (tmp_path / "other").write_text("b\n")
    shop.build("FROM scratch\nCOPY . /\n", f"--ignorefile={tmp_path}/other", f"-o={tmp_path}/out")
    assert (tmp_path / "out/a").exists()
    assert not (tmp_path / "out/b").exists()


def test_timestamp(shop: Workshop, tmp_path: Path) -> None:
    """It is $SOURCE_DATE_EPOCH: the image, its files and the build argument have it."""
    dockerfile = "FROM bb\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH >/made\n"
    shop.build(dockerfile, "--timestamp=1000000000", f"-o=type=tar,dest={tmp_path}/x.tar")
    assert shop.config()["created"] == "2001-09-09T01:46:40Z"
    with tarfile.open(tmp_path / "x.tar") as tar:
        assert tar.getmember("made").mtime == 1000000000
        assert tar.extractfile("made").read() == b"1000000000\n"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ("--network=non", "invalid choice: 'non'", "did you mean none?"),
        ("--annotation=x", "--annotation: x: no value", "--annotation NAME=VALUE"),
        ("--annotation==x", "--annotation: =x: no name", "--annotation NAME=VALUE"),
        ("--annotation=index:a=b", "only the manifest is annotated", "--annotation a=b"),
        ("--annotation=manifest[linux/arm64]:a=b", "only the manifest", "--annotation a=b"),
        ("--timestamp=now", "--timestamp: not a number of seconds: now", "date +%s"),
        ("--timestamp=", "--timestamp: no number of seconds", "date +%s"),
        ("--timestamp=1 --build-arg=SOURCE_DATE_EPOCH=2", "says another time", "one of them"),
        ("--ignorefile=/nonexistent", "--ignorefile: no such file: /nonexistent", "check"),
    ],
)
def test_mistakes(shop: Workshop, options: str, message: str, hint: str) -> None:
    done = shop.build("FROM scratch\nCOPY a /\n", *options.split(), check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert hint in done.stderr
    assert "COPY" not in done.stderr
