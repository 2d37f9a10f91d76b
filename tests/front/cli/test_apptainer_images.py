"""IMAGEs of ``sundog apptainer``: Singularity 2, archives, layouts, registries, web servers."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from sundog.image.oci.platform import Platform
from tests.conftest import command, run_program
from tests.front.cli.test_apptainer_files import Place
from tests.image.convert.formats import sif_descriptors
from tests.image.layer.archives import file
from tests.image.pull.conftest import faulty, no_logins, shelf
from tests.image.pull.images import for_platform

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.image.pull.faulty import FaultyRegistry
    from tests.image.pull.images import Shelf

__all__ = ["faulty", "no_logins", "shelf"]

LAYER = "application/vnd.sylabs.sif.layer.v1.sif"
CONFIG = "application/vnd.sylabs.sif.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Place:
    place = Place(tmp_path_factory.mktemp("images"), busybox_tar)
    place.run("build", "app.sif", "docker://app")
    return place


def test_singularity_2(place: Place) -> None:
    """SquashFS behind a line for the shell: run, inspected, converted, and bound."""
    sif = (place.path / "app.sif").read_bytes()
    *_, (_, _, start, size, _) = sif_descriptors(sif)
    old = place.path / "hello.simg"
    old.write_bytes(b"#!/usr/bin/env run-singularity\n" + sif[start : start + size])
    assert place.run("exec", "--userns", old, "true").stderr == ""
    assert place.run("run", old, "x").stdout == f"{place.path} x\n"
    assert place.run("inspect", old).stdout == place.run("inspect", "app.sif").stdout
    place.run("build", "new.sif", old)
    assert place.run("run", "new.sif", "x").stdout == f"{place.path} x\n"
    done = run_program([*command("ch-run"), old, "--", "echo", "here"], env=place.environment)
    assert (done.stdout, done.stderr) == ("here\n", "")


def test_archives_and_layouts(place: Place) -> None:
    """They come into storage once, and run by their layers, with ENTRYPOINT and ENV."""
    place.image("save", "--format=docker-archive", "app", "-o", place.path / "d.tar")
    convert = [*command("ch-convert"), "-q", "app"]
    for target in ("oci-archive:o.tar:one", "oci:o:two"):
        run_program([*convert, target], env=place.environment, cwd=place.path)
    listed = ""
    for image in ("docker-archive:d.tar", "oci-archive:o.tar", "oci:o", "oci:o:two"):
        done = place.run("-q", "run", image, "x")
        assert (done.stdout, done.stderr) == (f"{place.path} x\n", ""), image
        listed = place.image("list").stdout
        done = place.run("run", image, "x")
        assert (done.stdout, done.stderr) == (f"{place.path} x\n", ""), image
        assert place.image("list").stdout == listed
    assert place.run("exec", "docker-archive://d.tar", "sh", "-c", 'echo "$WORD"').stdout == (
        "a $ b\n"
    )
    assert "who: me\n" in place.run("inspect", "oci:o").stdout
    for image, text in (
        ("oci:nosuch", "could not open image nosuch: no such file or directory"),
        ("oci-archive:app.sif", "can't read "),
        ("docker-archive:o.tar:none", "can't "),
    ):
        done = place.run("exec", image, "true", check=False)
        assert done.returncode == 255
        assert f"FATAL:   {text}" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


class _Server(ThreadingHTTPServer):
    """A web server with the file ``data``, whose version is ``tag``."""

    data = b""
    tag = '"1"'


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        if self.path != "/x.sif":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.data)))
        if self.server.tag:
            self.send_header("ETag", self.server.tag)
        self.end_headers()
        try:
            self.wfile.write(self.server.data)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def serving(data: bytes) -> Generator[_Server]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.data = data
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_a_file_of_a_web_server(place: Place) -> None:
    """It is downloaded once, and again when the server has another version."""
    data = (place.path / "app.sif").read_bytes()
    files = place.path / "storage/sif"
    with serving(data) as server:
        url = f"http://127.0.0.1:{server.server_port}/x.sif"
        argv = [*command("sundog"), "apptainer", "run", url, "x"]
        pipe = subprocess.PIPE
        env = os.environ | place.environment
        started = [
            subprocess.Popen(argv, env=env, cwd=place.path, stdout=pipe, stderr=pipe)
            for _ in range(4)
        ]
        ends = [process.communicate(timeout=120) for process in started]
        assert [out for out, _ in ends] == [f"{place.path} x\n".encode()] * 4
        assert sum(b"downloading" in said for _, said in ends) == 1
        assert len(list(files.iterdir())) == 1
        assert place.run("run", url, "x").stderr == ""
        server.tag = '"2"'
        assert "downloading" in place.run("run", url, "x").stderr
        assert len(list(files.iterdir())) == 2
        place.run("pull", "--name", "down.sif", url)
        assert (place.path / "down.sif").read_bytes() == data
        assert (place.path / "down.sif").stat().st_mode & 0o777 == 0o755
        place.run("build", "--sandbox", "webbed", url)
        assert place.run("run", "webbed", "x").stdout == f"{place.path} x\n"
        for tag, wrong, text in (
            ('"3"', b"<html>", "is no SIF"),
            ('"4"', data[: len(data) // 2], "can't mount"),
        ):
            server.data, server.tag = wrong, tag
            done = place.run("exec", url, "true", check=False)
            assert done.returncode in (255, 49), done.stderr
            assert text in done.stderr or "damaged" in done.stderr
            assert "Traceback" not in done.stderr
        done = place.run("exec", f"{url}.none", "true", check=False)
        assert done.returncode == 255
        assert f"FATAL:   can't download {url}.none: " in done.stderr
    done = place.run("exec", "http://user@127.0.0.1/x", "true", check=False)
    assert done.returncode == 255


def test_a_file_of_a_registry(place: Place, faulty: FaultyRegistry, shelf: Shelf) -> None:
    """``oras://``: one layer that is a SIF, checked against its digest, and fetched once."""
    data = (place.path / "app.sif").read_bytes()

    def artifact(tag: str, *layers: dict[str, Any]) -> str:
        value = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": shelf.blob(b"{}", CONFIG),
            "layers": list(layers),
        }
        shelf.tags[tag] = shelf.document(value, MANIFEST)["digest"]
        return f"oras://{faulty.host}/{tag}"

    good = artifact("a/b:c", shelf.blob(data, LAYER))
    for expected in (True, False):
        done = place.run("run", good, "x")
        assert done.stdout == f"{place.path} x\n"
        assert ("downloading" in done.stderr) == expected
    place.run("pull", good)
    assert (place.path / "b_c.sif").read_bytes() == data
    text = f"Bootstrap: oras\nFrom: {good.removeprefix('oras://')}\n%post\n echo more > /more\n"
    (place.path / "more.def").write_text(text)
    done = place.run("build", "more.sif", "more.def")
    assert "downloading" not in done.stderr
    assert place.run("run", "more.sif", "x").stdout == f"{place.path} x\n"
    assert place.run("exec", "more.sif", "cat", "/more").stdout == "more\n"
    (place.path / "none.def").write_text("Bootstrap: oras\nFrom: {faulty.host}/no/such:1\n")
    done = place.run("build", "none.sif", "none.def", check=False)
    assert (done.returncode, "FATAL:   none.def:1: " in done.stderr) == (255, True)
    layer = shelf.blob(data[:-1] + b"x", LAYER)
    shelf.blobs[layer["digest"]] = data
    for source, text in (
        (artifact("no:sif", shelf.blob(b"x", "text/plain")), "is no SIF"),
        (artifact("wrong:1", layer), "content has digest"),
        (f"oras://{faulty.host}/none:1", "none"),
    ):
        done = place.run("exec", source, "true", check=False)
        assert done.returncode == 255
        assert text in done.stderr
        assert "Traceback" not in done.stderr


def test_a_pull_for_another_architecture(
    place: Place, faulty: FaultyRegistry, shelf: Shelf
) -> None:
    """The file has the image and the number of the architecture that --arch names."""
    others = [("arm64", ""), ("arm", "v6"), ("arm", "v7"), ("ppc64le", "")]
    images = {}
    for other in [(Platform.of_host().architecture, ""), *others]:
        layer = shelf.layer(file("which", "/".join(other).encode()))
        images[other] = shelf.image(layer, architecture=other)
    entries = [for_platform(image, *other) for other, image in images.items()]
    shelf.index(*entries, tag="many:1")
    source = f"docker://{faulty.host}/many:1"
    before = place.image("list").stdout
    for name, options, number in (
        ("arm64", ["--arch", "arm64"], b"04"),
        ("arm/v6", ["--arch", "arm", "--arch-variant", "6"], b"03"),
        ("arm/v7", ["--arch", "arm/v7"], b"03"),
        ("ppc64le", ["--arch", "ppc64le", "--sandbox"], b""),
    ):
        place.run("pull", "--force", "--name", "other", *options, source)
        made = place.path / "other"
        if made.is_dir():
            assert (made / "which").read_text() == f"{name}/"
            shutil.rmtree(made)
            continue
        argv = ["unsquashfs", "-o", str(made.read_bytes().index(b"hsqs")), "-cat"]
        done = subprocess.run([*argv, made, "which"], check=True, capture_output=True, text=True)
        assert done.stdout.rstrip("/") == name
        assert made.read_bytes()[45:47] == number
        made.unlink()
    assert place.image("list").stdout == before
    definition = f"Bootstrap: docker\nFrom: {faulty.host}/many:1\n"
    (place.path / "made.def").write_text(definition)
    place.run("build", "--arch", "ppc64le", "other", "made.def")
    assert (place.path / "other").read_bytes()[45:47] == b"06"
    for options, status, text in (
        (["--arch", "arm46"], 1, "--arch arm46: no such architecture\nINFO:    hint: did you mean"),
        (["--arch", "vax"], 1, "--arch vax: no such architecture\nINFO:    hint: one of: 386 "),
        (["--arch", "windows/amd64"], 1, "--arch windows/amd64: no such architecture"),
        (["--arch", "s390x"], 255, ""),  # the registry has none
    ):
        done = place.run("pull", *options, "none.sif", source, check=False)
        assert done.returncode == status, done
        assert f"FATAL:   {text}" in done.stderr
        assert "hint: " in done.stderr
        assert not (place.path / "none.sif").exists()
    done = place.run("build", "--arch", "arm64", "none.sif", place.path / "app.sif")
    assert "WARNING: --arch has no effect: " in done.stderr
