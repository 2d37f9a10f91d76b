"""Mutated archives and documents: each ends in an image or in an error, and costs little.

These are failures: a traceback, an exception that is not Sundog's, an effect outside, more memory
or time than any input of this size may take.  ``make fuzz`` runs this for minutes from a seed of
the time; this test takes a few seconds, from a fixed seed.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from typing import TYPE_CHECKING, NoReturn

import pytest

from sundog.base.kernel.namespaces import CLONE_NEWUSER, unshare, write_id_maps
from sundog.errors import ArchiveError
from sundog.front.cli.image_command import run
from sundog.image.layer.compression import open_decompressed
from sundog.image.layer.remove import remove_tree
from sundog.image.layer.unpack import unpack
from sundog.image.layer.write_tar import write_tar
from tests.hostile.mutations import docker_archive, oci_archive, tree_input
from tests.hostile.test_archives import CASES
from tests.image.store.conftest import temporary_things

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEED = int(os.environ.get("SUNDOG_FUZZ_SEED", "20261126"))
SECONDS = int(os.environ.get("SUNDOG_FUZZ_SECONDS", "8"))

OUTSIDE = os.readlink("/proc/self/ns/user")
BATCH = 25  # inputs that one process takes
MEMORY = 1 << 30  # bytes of address space beyond what the process has
CPU = 20  # seconds for one input
SMALL = 1 << 16  # bytes of the table's cases that are mutated


def enter_worker() -> None:
    """Become like the tree worker: root over the user's files."""
    if os.geteuid() or os.readlink("/proc/self/ns/user") == OUTSIDE:
        ids = os.geteuid(), os.getegid()
        unshare(CLONE_NEWUSER)
        write_id_maps(0, 0, *ids)


def try_tree(place: Path) -> None:
    """Unpack an archive, write the result, and unpack that: this must be possible."""
    enter_worker()
    tree, again = os.fsencode(place / "tree"), os.fsencode(place / "again")
    os.mkdir(tree)
    os.mkdir(again)
    try:
        with open(place / "input", "rb", buffering=0) as raw, open_decompressed(raw) as stream:
            unpacked = unpack(stream, tree)
        with open(place / "tar", "wb") as out:
            digest = write_tar(out, tree, unpacked.owners)
        with open(place / "tar", "rb") as written:
            assert unpack(written, again).diff_id == digest
    except ArchiveError:
        return
    finally:
        remove_tree(tree)
        remove_tree(again)


def try_load(place: Path) -> None:
    """Load an archive by the command, with its workers."""
    with open(place / "stderr", "w+b") as stderr:
        os.dup2(stderr.fileno(), 2)
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - the process ends soon
        status = run(["-s", str(place / "storage"), "load", str(place / "input"), "img"])
        sys.stderr.flush()
        stderr.seek(0)
        said = stderr.read().decode(errors="replace")
    assert status in (0, 1, 2), status
    assert status == 0 or said.count("error:") == 1, said
    assert "Traceback" not in said, said
    assert "the process that works on the storage died" not in said, said
    assert temporary_things(place / "storage") == [], "something was left in tmp"


def batch(
    seed: str,
    make: Callable[[random.Random], bytes],
    trial: Callable[[Path], None],
    place: Path,
) -> NoReturn:
    """Try a batch of inputs in this process."""
    status = 1
    try:
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        rng = random.Random(seed)
        for _ in range(BATCH):
            (place / "input").write_bytes(make(rng))
            spent = int(sum(os.times()[:4]))
            limit = spent + CPU
            resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
            trial(place)
        status = 0
    except BaseException:  # every exception is a failure
        (place / "failure").write_text(traceback.format_exc())
    finally:
        os._exit(status)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
def test_mutated_archives(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "precious").write_text("precious")
    place = tmp_path / "place"
    place.mkdir()
    cases = [case.data() for case in CASES if case.command == "import" and case.limits is None]
    known = [data for data in cases if len(data) < SMALL]
    kinds: list[tuple[Callable[[random.Random], bytes], Callable[[Path], None]]] = [
        (lambda rng: tree_input(rng, known), try_tree),
        (docker_archive, try_load),
        (oci_archive, try_load),
    ]
    deadline = time.monotonic() + SECONDS
    number = 0
    while time.monotonic() < deadline:
        make, trial = kinds[number % len(kinds)]
        seed = f"{SEED} {number}"
        number += 1
        child = os.fork()
        if not child:
            batch(seed, make, trial, place)
        _, status = os.waitpid(child, 0)
        harmed = os.listdir(canary) != ["precious"]
        if status or harmed:
            saved = tempfile.mkdtemp(prefix=f"sundog-fuzz-{SEED}-")
            shutil.copy(place / "input", saved)
            why = place / "failure"
            text = why.read_text() if why.exists() else f"signal {os.WTERMSIG(status)}"
            text += "\nthe canary was harmed" * harmed
            pytest.fail(f"seed {seed}, input saved as {saved}/input:\n{text}")
    assert number
    print(f"{number * BATCH} inputs from seed {SEED}")


def test_the_inputs_depend_on_the_seed_alone() -> None:
    for make in (docker_archive, oci_archive, lambda rng: tree_input(rng, [b"known" * 200])):
        assert make(random.Random("1")) == make(random.Random("1"))
        assert make(random.Random("1")) != make(random.Random("2"))
