"""Kills at any moment of pushes and loads: nothing half-made, and the next one goes on."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import KILLS, command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner
    from tests.image.registry.servers import InProcessRegistry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def img(run_ch_image: Runner, bb: str, tmp_path: Path) -> str:
    """Return the name of an image whose three layers take a moment to push."""
    context = tmp_path / "context"
    context.mkdir()
    for name in "ab":
        (context / name).write_bytes(random.Random(name).randbytes(2_000_000))
    (context / "Dockerfile").write_text("FROM bb\nCOPY a /\nCOPY b /\n")
    run_ch_image("build", "-t", "img", context)
    return "img"


def kill_pushes(
    image: str, storage: Path, run_ch_image: Runner, registry: InProcessRegistry
) -> None:
    """Kill pushes at random moments, and check storage and registry after each.

    Now and then a push may end: it uploads the missing blobs, and the next uses a new name.
    """
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    env = os.environ | {"CH_IMAGE_STORAGE": str(storage)}
    start = time.monotonic()
    subprocess.run([*command("ch-image"), "list"], env=env, check=True)
    least = time.monotonic() - start
    repository = "x0"
    for number in range(KILLS):
        process = subprocess.Popen(
            [*command("ch-image"), "push", image, f"{registry.host}/{repository}:1"],
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(chance.uniform(least / 2, least * 4))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert run_ch_image("list").stdout == f"bb\n{image}\n"
        check_blobs(storage)
        if chance.random() < 0.2:
            push_and_count(image, storage, run_ch_image, registry, repository)
            registry.blobs.clear()
            repository = f"x{number + 1}"
    push_and_count(image, storage, run_ch_image, registry, repository)


def push_and_count(
    image: str, storage: Path, run_ch_image: Runner, registry: InProcessRegistry, repository: str
) -> None:
    """Push without a kill, and assert that only the missing blobs move."""
    for (_, digest), content in registry.blobs.items():
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
    there = {digest for _, digest in registry.blobs}
    registry.received = 0
    run_ch_image("push", image, f"{registry.host}/{repository}:1")
    manifest = json.loads(registry.manifests[repository, "1"][1])
    parts = {part["digest"]: part["size"] for part in [*manifest["layers"], manifest["config"]]}
    missing = sum(size for digest, size in parts.items() if digest not in there)
    assert registry.received == missing
    assert set(parts) <= {digest for _, digest in registry.blobs}
    assert [name for name in os.listdir(storage / "tmp") if name != "trash"] == []


def check_blobs(storage: Path) -> None:
    """Assert that all complete blobs have the digests that their names say."""
    for path in (storage / "blobs/sha256").glob("*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def test_push(
    *, img: str, run_ch_image: Runner, storage: Path, in_process: InProcessRegistry
) -> None:
    kill_pushes(img, storage, run_ch_image, in_process)


def test_load(*, img: str, run_ch_image: Runner, tmp_path: Path) -> None:
    run_ch_image("save", "-o", tmp_path / "saved", img)
    other = tmp_path / "other"

    arguments = ["load", "--storage", str(other), str(tmp_path / "saved"), "new"]
    seen = set()
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    start = time.monotonic()
    run_ch_image(*arguments)
    longest = (time.monotonic() - start) * 1.1
    run_ch_image("delete", "--storage", other, "new")
    for _ in range(KILLS):
        process = subprocess.Popen([*command("ch-image"), *arguments])
        try:
            process.wait(chance.uniform(0, longest))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        listed = run_ch_image("list", "--storage", other).stdout
        seen.add(listed)
        check_blobs(other)
        if listed:
            run_ch_image("save", "--storage", other, "-o", tmp_path / "again", "new")
            (tmp_path / "again").unlink()
            run_ch_image("delete", "--storage", other, "new")
    assert seen <= {"", "new\n"}
    run_ch_image(*arguments)
    run_ch_image("save", "--storage", other, "-o", tmp_path / "again", "new")
    assert [name for name in os.listdir(other / "tmp") if name != "trash"] == []
