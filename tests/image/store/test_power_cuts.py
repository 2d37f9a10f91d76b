"""A power cut at any moment of a command: all that commands have called done survives it.

The storage is on a disk that the root helper clones, see scripts/disks.py.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.files import Closing
from sundog.image.store.store import Store
from tests.conftest import CUTS, command, run_program
from tests.image.builder.conftest import announced
from tests.image.layer.archives import directory, file
from tests.image.pull.faulty import FaultyRegistry
from tests.image.pull.images import Shelf
from tests.image.registry.servers import InProcessRegistry

if TYPE_CHECKING:
    from collections.abc import Generator

    # The first is pulled from, the second pushed to.
    Registries = tuple[FaultyRegistry, InProcessRegistry]

    from tests.conftest import Completed, RootHelper

KINDS = ("ext4", "xfs", "btrfs")
DOCKERFILE = "FROM bb\nRUN echo {n} >/n\nCOPY data /data\nRUN cat /data /data >/twice\n"
BYTES = 100_000

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@dataclass(frozen=True)
class Disk:
    """A small disk that the root helper makes, mounts and clones."""

    helper: RootHelper
    path: Path

    def cut(self) -> Path:
        """Clone the disk as a power cut would leave it now; return where to mount the clone."""
        return Path(self.helper.ask("clone-disk", path=str(self.path))["clone"])

    def mount(self, clone: Path) -> None:
        self.helper.ask("mount-clone", path=str(self.path), clone=str(clone))

    def remove(self, clone: Path) -> None:
        self.helper.ask("remove-clone", path=str(self.path), clone=str(clone))


@pytest.fixture(params=KINDS)
def disk(request: pytest.FixtureRequest, root_helper: RootHelper) -> Generator[Disk]:
    """Return a disk with each kind of file system in turn."""
    answer = root_helper.ask("make-disk", kind=request.param)
    if lack := answer.get("lacking"):
        pytest.skip(f"kernel: {lack}")
    path = Path(answer["path"])
    yield Disk(root_helper, path)
    root_helper.ask("remove-disk", path=str(path))


@dataclass
class Command:
    """A command, the images that it makes and removes, and the line that says it is done."""

    words: list[str]
    makes: dict[str, int] = field(default_factory=dict)  # name → the contents of the image's /n
    removes: tuple[str, ...] = ()
    done: str = ""


class Bench:
    """A storage directory on a disk, registries, and the images of commands that are done."""

    def __init__(self, disk: Disk, place: Path, bb: Path, registries: Registries) -> None:
        seed = random.randrange(1 << 32)
        print(f"seed {seed}")
        self.chance = random.Random(seed)
        self.disk = disk
        self.place = place
        self.source, self.target = registries
        self.there: dict[str, int] = {}
        self.number = 0
        self.built = ""
        self.took: dict[str, float] = {}
        self.base = self.source.shelf.tar_layer(bb.read_bytes())
        (place / "context").mkdir()
        self.run(Command(["import", str(bb), "bb"], {"bb": 0}), 1)

    def ch_image(self, root: Path, *words: str | Path, check: bool = True) -> Completed:
        environment = {"CH_IMAGE_STORAGE": str(root / "storage")}
        return run_program([*command("ch-image"), *words], env=environment, check=check)

    def commands(self) -> list[Command]:
        """Return the commands of one round: each kind once, with new content."""
        self.number += 1
        n = self.number
        data = self.chance.randbytes(BYTES)
        (self.place / "context/data").write_bytes(data)
        (self.place / "context/Dockerfile").write_text(DOCKERFILE.format(n=n))
        layers = [
            self.source.shelf.layer(directory("d"), file(f"d/{k}", self.chance.randbytes(BYTES)))
            for k in range(3)
        ]
        number = self.source.shelf.layer(file("n", f"{n}\n".encode()))
        self.source.shelf.image(self.base, *layers, number, tag=f"p:{n}")
        round_ = [
            Command(
                ["build", "-t", f"b{n}", str(self.place / "context")],
                {f"b{n}": n},
                done=f"grown in 4 instructions: b{n}\n",
            ),
            Command(["push", f"b{n}", f"{self.target.host}/b:{n}"]),
            Command(["pull", f"{self.source.host}/p:{n}", f"p{n}"], {f"p{n}": n}),
            Command(["tag", f"b{n}", "t"], {"t": n}),
        ]
        if n > 2:
            old = (f"b{n - 2}", f"p{n - 2}")
            round_.append(Command(["delete", *old], removes=old))
        return round_

    def run(self, one: Command, cuts: int) -> None:
        """Run a command, cut the power ``cuts`` times during it or just after, and check each."""
        kind = one.words[0]
        with open(self.place / "said", "w+") as said:
            start = time.monotonic()
            process = subprocess.Popen(
                [*command("ch-image"), *one.words],
                env=os.environ | {"CH_IMAGE_STORAGE": str(self.disk.path / "storage")},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
            clones = []
            moments = sorted(self.chance.uniform(0, 1.2) for _ in range(cuts))
            for moment in moments:
                wait = start + moment * self.took.get(kind, 1) - time.monotonic()
                if moment > 1:
                    process.wait()
                elif wait > 0:
                    time.sleep(wait)
                is_done = process.poll() is not None or (
                    bool(one.done) and one.done in (self.place / "said").read_text()
                )
                clones.append((self.disk.cut(), is_done))
            status = process.wait()
        self.took[kind] = time.monotonic() - start
        assert status == 0, (self.place / "said").read_text()
        for clone, is_done in clones:
            self.disk.mount(clone)
            try:
                self.check(clone, one, is_done=is_done)
            finally:
                self.disk.remove(clone)
        self.there = self.after(one)
        if kind == "build":
            self.built = one.words[2]

    def after(self, one: Command) -> dict[str, int]:
        """Return the images that the storage has when a command is done."""
        return {name: n for name, n in (self.there | one.makes).items() if name not in one.removes}

    def check(self, root: Path, one: Command, *, is_done: bool) -> None:
        """Assert that the storage after a cut has all images of done commands, and works.

        ``one`` was at work; the images that it makes or removes may be there or not.
        """
        print(f"cut: {one.words[:2]} {'done' if is_done else 'at work'}")
        possible = [self.after(one)] if is_done else self.between(one)
        listed = self.ch_image(root, "list").stdout.split()
        found = {name: self.content(root, name) for name in listed}
        assert found in possible, (one, possible)
        if listed:
            name = self.chance.choice(listed)
            shown = run_program(
                [*command("ch-run"), name, "--", "cat", "/n"],
                env={"CH_IMAGE_STORAGE": str(root / "storage")},
                check=False,
            )
            assert shown.stdout == (f"{found[name]}\n" if name != "bb" else "")
        self.use(root, one, is_done=is_done)

    def between(self, one: Command) -> list[dict[str, int]]:
        """Return the images that may be there while a command is at work."""
        states = [self.there | one.makes]
        states += [
            {name: n for name, n in self.there.items() if name not in one.removes[:count]}
            for count in range(len(one.removes) + 1)
        ]
        return states

    def content(self, root: Path, name: str) -> int:
        """Read the whole image; return the contents of its /n."""
        with Store.open(str(root / "storage")) as store:
            image = store.images.get(name)
            number = 0
            for layer in image.layers:
                store.layers.owners(layer)
                tree = Path(os.fsdecode(store.layers.tree(layer)))
                for path in tree.rglob("*"):
                    if path.name in "012" or path.name in ("data", "twice"):
                        assert path.stat().st_size in (BYTES, 2 * BYTES), path
                        assert bytes(4096) not in path.read_bytes(), path
                if (tree / "n").exists():
                    number = int((tree / "n").read_text())
            for digest in image.blobs:
                algorithm, _, encoded = digest.partition(":")
                path = root / "storage/blobs" / algorithm / encoded
                assert json.loads(path.read_bytes()), path
        return number

    def use(self, root: Path, one: Command, *, is_done: bool) -> None:
        """Run the earlier commands and others on the storage."""
        kind = one.words[0]
        if kind == "delete":
            self.ch_image(root, "delete", *one.words[1:], check=False)
        else:
            again = self.ch_image(root, *one.words)
            if kind == "build":  # it may have taken steps from the cache
                assert self.content(root, one.words[2]) == self.number
            if kind == "build" and is_done:
                assert [status for _, status, _ in announced(again)] == ["*"] * 4
        (self.place / "more").write_text("FROM bb\nRUN echo more >/n; cat /n\n")
        built = self.ch_image(
            root, "build", "-t", "more", "-f", self.place / "more", self.place / "context"
        )
        assert "\nmore\n" in built.stdout + built.stderr or built.stdout == "more\n"
        assert os.listdir(root / "storage/tmp") == ["trash"]
        assert os.listdir(root / "storage/tmp/trash") == []


def with_own_id(busybox: Path, place: Path) -> Path:
    """Return an image whose layer no other test runs: what a process has mounted is not deleted."""
    image = place / "busybox.tar"
    shutil.copyfile(busybox, image)
    with tarfile.open(image, "a") as archive:
        archive.addfile(tarfile.TarInfo(f"own-{os.urandom(8).hex()}"))
    return image


def test_cut_at_any_moment(disk: Disk, tmp_path: Path, busybox_tar: Path) -> None:
    busybox = with_own_id(busybox_tar, tmp_path)
    with FaultyRegistry(Shelf()).serve() as source, InProcessRegistry().serve() as target:
        bench = Bench(disk, tmp_path, busybox, (source, target))
        left = CUTS // len(KINDS)
        while left > 0:
            for one in bench.commands():
                cuts = min(left, bench.chance.choice((0, 1, 2)))
                bench.run(one, cuts)
                left -= cuts


def test_a_layer_that_lags_when_another_program_syncs(
    disk: Disk, tmp_path: Path, busybox_tar: Path
) -> None:
    """The names of the layer and its entry are on the device, and the layer's files are not."""
    context = tmp_path / "context"
    context.mkdir()
    data = os.urandom(BYTES)
    (context / "data").write_bytes(data)
    copied = "FROM bb\nCOPY data /data\n"
    (context / "Dockerfile").write_text(copied)
    (context / "endless").write_text(f"{copied}RUN mkfifo /f && cat /f\n")

    def run(root: Path, *words: str | Path) -> Completed:
        environment = {"CH_IMAGE_STORAGE": str(root / "storage")}
        return run_program([*command("ch-image"), *words], env=environment)

    run(disk.path, "import", with_own_id(busybox_tar, tmp_path), "bb")
    process = subprocess.Popen(
        [*command("ch-image"), "build", "-t", "x", "-f", context / "endless", context],
        env=os.environ | {"CH_IMAGE_STORAGE": str(disk.path / "storage")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        assert process.stdout is not None
        next(line for line in process.stdout if "mkfifo" in line)
        for name in ("cache", "layers"):
            with Closing(os.open(disk.path / "storage" / name, os.O_RDONLY)) as fd:
                os.fsync(fd)
        clone = disk.cut()
        process.kill()
    entries = (disk.path / "storage/cache").iterdir()
    assert any(os.readlink(entry).startswith("lags/") for entry in entries)

    disk.mount(clone)
    run(clone, "build", "-t", "x", context)
    with Store.open(str(clone / "storage")) as store:
        *_, layer = store.images.get("x").layers
        assert Path(os.fsdecode(store.layers.tree(layer)), "data").read_bytes() == data
    disk.remove(clone)
    again = run(disk.path, "build", "-t", "x", context)  # the kill alone has cost nothing
    assert [status for _, status, _ in announced(again)] == ["*"] * 2
