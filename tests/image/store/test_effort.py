"""A command does not read more when there are more other images."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sundog.base.record.names import canonical_name
from sundog.image.oci.config import ImageConfig
from sundog.image.store.image_files import Image
from sundog.image.store.layer_ids import layer_id
from sundog.image.store.layer_info import LayerInfo
from sundog.image.store.store import Store
from tests.image.registry.servers import InProcessRegistry

if TYPE_CHECKING:
    from pathlib import Path

# This program counts the files that a command opens or lists, except Python's modules.
COUNTING = """
import os, sys

storage, pid = os.environ["CH_IMAGE_STORAGE"], os.getpid()
fd = os.open(os.environ["COUNT_FILE"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

def note(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and os.getpid() == pid:
        path = arguments[0]
        if isinstance(path, (str, bytes)):
            path = os.fsdecode(path)
            # A number is the name of a process in /proc.
            is_relative = not path.startswith("/") and not path.partition("/")[0].isdigit()
            if is_relative or path.startswith(storage):
                os.write(fd, b"1")

sys.addaudithook(note)
sys.argv = ["ch-image", *sys.argv[1:]]
from sundog.front.cli.image import main
sys.exit(main())
"""
FEW, MANY = 2, 60

TWO_STAGES = "FROM bb AS a\nRUN echo 1 >/1\nRUN echo 2 >/2\nFROM bb\nCOPY --from=a /1 /2 /d/\n"
DOCKERFILES = {
    "plain": 'FROM bb\nRUN echo 1 >/n\nCOPY plain /x\nCMD ["x"]\n',
    "stages": TWO_STAGES,
    "failing": "FROM bb\nRUN echo 3 >/n\nRUN false\n",
    "wrong": "FROM bb\nNONSENSE\n",
    "absent": "FROM bb\nCOPY nothing /\n",
}
# They run in this order; the commands after "-" fail.
COMMANDS = """
    import {bb} bb
    import {bb} bb
    build -t img -f {place}/plain {place}
    build -t img -f {place}/plain {place}
    build -t img2 -f {place}/plain {place}
    build -t staged -f {place}/stages {place}
    build -t staged -f {place}/stages {place}
    build -t staged --dry-run -f {place}/stages {place}
    build -t uncached --no-cache -f {place}/plain {place}
    - build -t bad -f {place}/failing {place}
    - build -t bad -f {place}/failing {place}
    - build -t bad -f {place}/wrong {place}
    - build -t bad -f {place}/absent {place}
    tag img other
    list img other
    - list img nosuch
    list nosuch
    - list --remote nosuch
    inspect img other
    history img
    save -o {place}/saved img
    load {place}/saved loaded
    push img {host}/x:1
    push img {host}/x:1
    push img {host}/y:1
    push --image {place}/tree dir {host}/z:1
    pull {host}/x:1 pulled
    pull {host}/x:1 pulled
    pull {host}/x:1 again
    - pull {host}/nosuch:1
    - delete nosuch
    modify -c true img modified
    modify -c true img modified
""".strip()


def add_images(storage: Path, count: int) -> list[str]:
    """Add images of one layer each, and return their names."""
    names = [f"other{number}" for number in range(count)]
    with Store.open(str(storage)) as store:
        drafts = []
        for name in names:
            draft = store.scratch.new()
            os.mkdir(os.path.join(draft, b"tree"))
            with open(os.path.join(draft, b"owners"), "wb") as file:
                file.write(b"sundog-owners 1\n")
            drafts.append((draft, layer_id(name), LayerInfo()))
        store.layers.add_all(drafts)
        config = ImageConfig()
        store.images.put(
            *(Image(canonical_name(name), name, config, (layer_id(name),)) for name in names)
        )
    return names


def opened(storage: Path, *words: str, succeeds: bool = True) -> int:
    """Run ``ch-image``; return how many files and directories it opened or listed."""
    note = storage.with_name("count")
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, *words],
        env=os.environ | {"CH_IMAGE_STORAGE": str(storage), "COUNT_FILE": str(note)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == succeeds, (words, done.stderr)
    return note.stat().st_size


@pytest.mark.slow
def test_no_command_reads_other_images(
    driver: str, tmp_path: Path, busybox_tar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CH_IMAGE_DRIVER", driver)
    lines = COMMANDS.splitlines()
    if driver == "copy":  # the driver matters only to these commands
        lines = [line for line in lines if {"import", "build"} & set(line.split())]
    counts: list[dict[str, int]] = []
    for others in (FEW, MANY):
        place = tmp_path / str(others)
        (place / "tree/etc").mkdir(parents=True)
        for name, text in DOCKERFILES.items():
            (place / name).write_text(text)
        add_images(place / "storage", others)
        counts.append({})
        with InProcessRegistry().serve() as registry:
            for number, line in enumerate(lines):
                words = line.format(bb=busybox_tar, place=place, host=registry.host).split()
                succeeds = words[0] != "-"
                count = opened(place / "storage", *words[not succeeds :], succeeds=succeeds)
                counts[-1][f"{number}: {line.strip()}"] = count
    few, many = counts
    # A blob arrives in pieces, whose number varies.
    assert {line: (few[line], many[line]) for line in few if many[line] - few[line] > 10} == {}


def test_images_are_read_once_to_delete_several(storage: Path) -> None:
    names = add_images(storage, MANY)
    one = opened(storage, "delete", names[0])
    several = opened(storage, "delete", *names[1:11])
    matching = opened(storage, "delete", *(f"*her2{digit}" for digit in range(10)))
    # Each name costs a few files; only a pattern costs a look at all names.
    assert several < 12 * one
    assert matching < several + MANY + 100
