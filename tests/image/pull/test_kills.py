"""A pull dies at any moment: the store has no wrong data, and the next pull resumes."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import KILLS, command
from tests.image.layer.archives import directory, file

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner
    from tests.image.pull.faulty import Answer, Asked, FaultyRegistry
    from tests.image.pull.images import Shelf


@pytest.fixture
def registry(shelf: Shelf, faulty: FaultyRegistry, busybox_tar: Path) -> FaultyRegistry:
    """Return a registry with an image of three layers, whose blobs come slowly."""
    upper = [
        shelf.layer(directory("d"), file(f"d/{n}", random.Random(n).randbytes(300_000)))
        for n in range(2)
    ]
    shelf.image(shelf.tar_layer(busybox_tar.read_bytes()), *upper, tag="a:latest")

    def slowly(asked: Asked, answer: Answer) -> Answer:
        if asked.is_blob:
            answer.pause = 0.0001
        return answer

    faulty.faults.append(slowly)
    return faulty


def check_store(storage: Path) -> None:
    """Check that every blob matches the digest in its name, and that every layer is complete."""
    blobs = storage / "blobs/sha256"
    for path in blobs.iterdir() if blobs.exists() else ():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    for layer in (storage / "layers").iterdir() if (storage / "layers").exists() else ():
        assert {"tree", "owners", "layer.json"} <= set(os.listdir(layer))


def bytes_there(storage: Path) -> int:
    """Return the number of bytes in the store's blobs, complete and partial."""
    partial = storage / "blobs/partial"
    complete = storage / "blobs/sha256"
    return sum(
        path.stat().st_size
        for place in (partial, complete)
        if place.exists()
        for path in place.iterdir()
    )


def kill_some(
    registry: FaultyRegistry, run_ch_image: Runner, storage: Path, seed: int, kills: int
) -> None:
    """Kill ``kills`` pulls after random times, and check the store after each."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    name = f"{registry.host}/a"
    environment = os.environ | {"CH_IMAGE_STORAGE": str(storage)}
    started = time.monotonic()
    run_ch_image("pull", name)
    longest = (time.monotonic() - started) * 1.1
    run_ch_image("delete", name)
    everything = sum(
        len(blob) for key, blob in registry.shelf.blobs.items() if key not in registry.shelf.types
    )
    for _ in range(kills):
        pull = subprocess.Popen(
            [*command("ch-image"), "pull", name],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(chance.uniform(0, longest))
        os.killpg(pull.pid, signal.SIGKILL)
        pull.wait()
        check_store(storage)
        assert run_ch_image("list").stdout in ("", f"{name}\n")
        if chance.random() < 0.3:
            complete_and_count(registry, run_ch_image, storage, name, everything)
    complete_and_count(registry, run_ch_image, storage, name, everything)


def complete_and_count(
    registry: FaultyRegistry, run_ch_image: Runner, storage: Path, name: str, everything: int
) -> None:
    """Finish the pull.  Check that the registry sent only the missing bytes of the blobs."""
    documents = sum(
        len(registry.shelf.blobs[key])
        for key in registry.shelf.types
        if (storage / "blobs/sha256" / key.removeprefix("sha256:")).exists()
    )
    missing = everything - (bytes_there(storage) - documents)
    registry.sent = 0
    run_ch_image("pull", name)
    assert registry.sent == missing
    check_store(storage)
    assert os.listdir(storage / "blobs/partial") == []
    run_ch_image("delete", name)
    assert bytes_there(storage) == 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_pulls(registry: FaultyRegistry, run_ch_image: Runner, storage: Path) -> None:
    kill_some(registry, run_ch_image, storage, random.randrange(1 << 32), KILLS)


def test_two_pulls_at_once_fetch_every_blob_once(
    registry: FaultyRegistry, run_ch_image: Runner, storage: Path
) -> None:
    name = f"{registry.host}/a"
    environment = os.environ | {"CH_IMAGE_STORAGE": str(storage)}
    pulls = [
        subprocess.Popen(
            [*command("ch-image"), "-q", "pull", name, destination],
            env=environment,
        )
        for destination in ("x", "y")
    ]
    assert [pull.wait() for pull in pulls] == [0, 0]
    layers = [key for key, blob in registry.shelf.blobs.items() if len(blob) > 100_000]
    for key in layers:
        asked = [one for one in registry.asked if one.path.endswith(key)]
        assert len(asked) == 1
    assert run_ch_image("list").stdout == "x\ny\n"
    check_store(storage)


def test_a_pull_that_is_interrupted_leaves_what_it_has(
    registry: FaultyRegistry, run_ch_image: Runner, storage: Path
) -> None:
    def stop(asked: Asked, answer: Answer) -> Answer:
        if asked.is_blob and len(answer.body) > 100_000:
            registry.faults.remove(stop)
            os.kill(pull.pid, signal.SIGTERM)
        return answer

    registry.faults.append(stop)
    pull = subprocess.Popen(
        [*command("ch-image"), "pull", f"{registry.host}/a"],
        env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
        stderr=subprocess.PIPE,
    )
    _, said = pull.communicate(timeout=60)
    assert pull.returncode == -signal.SIGTERM
    assert b"SIGTERM" in said
    assert os.listdir(storage / "tmp") == ["trash"]
    run_ch_image("pull", f"{registry.host}/a")
