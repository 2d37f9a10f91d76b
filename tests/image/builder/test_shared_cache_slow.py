"""Shared caches that stop in the middle, two writers of one entry, and ^C: nothing half is left."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from sundog.image.oci.index import Index
from tests.conftest import command
from tests.image.builder.test_shared_cache import registry, shared, statuses
from tests.image.builder.test_shared_cache_failures import warnings
from tests.image.registry.servers import CutAfter, CutOff

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Completed
    from tests.image.builder.conftest import Workshop
    from tests.image.builder.test_shared_cache import Shared

__all__ = ["registry", "shared"]

DOCKERFILE = "FROM bb\nCOPY d /d\nRUN cat /proc/sys/kernel/random/uuid >/made\n"
BOUND = 60  # seconds, for a test that hangs
ONE_STEP = "FROM bb\nRUN cat /proc/sys/kernel/random/uuid >/made\n"  # another layer each time
IMPATIENT = "from sundog.front.cli import build_sharing; build_sharing.SILENCE = 0.2"


def build_line(workshop: Workshop, *options: str, dockerfile: str = DOCKERFILE) -> list[str]:
    """Return the arguments of a build."""
    path = workshop.context.parent / "Dockerfile"
    path.write_text(dockerfile)
    return ["build", "-t", "img", "-f", str(path), *options, str(workshop.context)]


def impatiently(workshop: Workshop, *options: str) -> Completed:
    """Build with a fifth of a second in the place of the usual silence."""
    done = workshop.prepared(IMPATIENT, *build_line(workshop, *options))
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("request_", ["GET.*manifests", "GET.*blobs"])
def test_a_registry_that_falls_silent(shared: Shared, request_: str) -> None:
    """One warning after a bounded time, and the steps run."""
    one, two = shared.store(), shared.store()
    one.build(DOCKERFILE, "--cache-to", shared.repo)
    shared.registry.requests.clear()
    released = threading.Event()

    def wait(request: str) -> None:
        if re.match(request_, request):
            released.wait(BOUND)
            raise CutOff

    shared.registry.before = wait
    try:
        done = impatiently(two, "--cache-from", shared.repo)
    finally:
        released.set()
    assert statuses(done)[-3:] == "*.."
    assert len(warnings(done)) == 1, done.stderr
    assert shared.registry.count(f"{request_}.*") == 2  # of two attempts
    assert two.run("test -s /made; cat /d/file") == "1"


def test_a_layer_that_is_cut(shared: Shared) -> None:
    """It breaks off at the same byte again and again."""
    one, two = shared.store(), shared.store()
    one.build(DOCKERFILE, "--cache-to", shared.repo)

    def cut(request: str) -> None:
        if re.match("GET.*blobs", request) and is_layer(request.rpartition("/")[2]):
            raise CutAfter(20)

    layers = {
        layer["digest"]
        for _, content in shared.registry.manifests.values()
        for layer in json.loads(content)["layers"]
    }
    is_layer = layers.__contains__
    shared.registry.after = cut
    done = two.build(DOCKERFILE, "--cache-from", shared.repo)
    assert statuses(done)[-3:] == "*.."
    assert len(warnings(done)) == 1, done.stderr
    assert two.run("cat /d/file") == "1"
    assert statuses(two.build(DOCKERFILE)) == "***"


def writer(workshop: Workshop, option: str) -> subprocess.Popen[bytes]:
    """Start a build of one step in a store."""
    storage = str(workshop.context.parent / "storage")
    line = build_line(workshop, option, dockerfile=ONE_STEP)
    return subprocess.Popen([*command("ch-image"), "-s", storage, *line], stderr=subprocess.PIPE)


def test_two_writers_of_one_entry(shared: Shared) -> None:
    """Both make a layer for one key, and write at the same moment: one whole entry is left."""
    workshops = [shared.store(), shared.store()]
    meeting = threading.Barrier(2)
    together: list[str] = []

    def meet(request: str) -> None:
        if re.match("PUT.*manifests", request):
            meeting.wait(BOUND)
            together.append(request)

    shared.registry.before = meet
    building = [writer(workshop, f"--cache-to={shared.repo}") for workshop in workshops]
    for process in building:
        _, errors = process.communicate(timeout=BOUND)
        assert process.returncode == 0, errors
        assert b"warning" not in errors
    assert len(together) == 2
    assert len(shared.tags()) == 1
    shared.registry.before = lambda _: None
    third = shared.store()
    assert statuses(third.build(ONE_STEP, "--cache-from", shared.repo)) == "**"
    assert third.run("cat /made") in [each.run("cat /made") for each in workshops]


def check_layout(place: Path) -> None:
    """Fail unless each file of a layout is whole, and all that its index names are there."""
    named = {
        described["digest"]
        for entry in json.loads((place / "index.json").read_bytes())["manifests"]
        for manifest in [json.loads((place / "blobs/sha256" / entry["digest"][7:]).read_bytes())]
        for described in (entry, manifest["config"], *manifest["layers"])
    }
    files = {str(path.relative_to(place)): path for path in place.rglob("*") if path.is_file()}
    assert files.keys() >= {f"blobs/sha256/{digest[7:]}" for digest in named}
    for name, path in files.items():
        if name not in ("index.json", "oci-layout"):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert name == f"blobs/sha256/{digest}"


def test_two_writers_of_a_layout(shared: Shared, tmp_path: Path) -> None:
    place = tmp_path / "layout"
    workshops = [shared.store() for _ in range(3)]
    to = f"--cache-to=type=local,dest={place}"
    building = [writer(workshop, to) for workshop in workshops]
    for process in building:
        _, errors = process.communicate(timeout=BOUND)
        assert b"warning" not in errors
    assert len(Index.from_json((place / "index.json").read_bytes()).manifests) == 1
    check_layout(place)
    third = shared.store()
    done = third.build(ONE_STEP, f"--cache-from=type=local,src={place}")
    assert statuses(done) == "**"


# ^C while the file of an entry with this name is renamed into its place.
INTERRUPTED = """
import os, signal
from sundog.image.builder.shared import directory_place
whole = directory_place.replace_file
def replace_file(path, data, **options):
    if path.endswith(b"index.json"):
        os.kill(os.getpid(), signal.SIGINT)
    whole(path, data, **options)
directory_place.replace_file = replace_file
"""


def test_an_interrupted_write_to_a_layout(shared: Shared, tmp_path: Path) -> None:
    """^C comes when the layer is there, and before the index names it."""
    place = tmp_path / "layout"
    workshop = shared.store()
    option = f"--cache-to=type=local,dest={place}"
    done = workshop.prepared(INTERRUPTED, *build_line(workshop, option))
    assert done.returncode == -signal.SIGINT, done.stderr
    assert not (place / "index.json").exists()
    assert statuses(workshop.build(DOCKERFILE, option)) == "**."
    check_layout(place)
