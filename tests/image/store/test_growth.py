"""What a command does to the files of a store does not depend on the other images there."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command
from tests.image.store.test_effort import add_images

if TYPE_CHECKING:
    from pathlib import Path

FEW, MANY = 10, 1000

_CALL = re.compile(r"^\d+ +(\w+)\((.*)")
_NUMBER = re.compile(r"[0-9a-f]{16,}|[0-9]+")


def file_system_calls(storage: Path, *words: str) -> Counter[str]:
    """Run ``ch-image`` under strace(1); return its calls about files of ``storage``.

    Random names and numbers are "#".  A listing of a directory has a call for each part of it.
    """
    log = storage.with_name("log")
    subprocess.run(
        [
            *("strace", "-f", "-qq", "-y", "-s", "4096", "-e", "signal=none", "-o", log),
            *("-e", "trace=%file,getdents64", *command("ch-image"), *words),
        ],
        env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    calls = filter(None, map(_CALL.match, log.read_text(errors="replace").splitlines()))
    paths = re.compile(f'["<]{re.escape(str(storage))}([^">]*)')
    return Counter(
        _NUMBER.sub("#", " ".join((found[1], *paths.findall(found[2]))))
        for found in calls
        if paths.search(found[2])
    )


@pytest.fixture(scope="module")
def two_stores(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> list[Path]:
    """Return storage directories with few and with many other images, and one of busybox."""
    stores = []
    for others in (FEW, MANY):
        storage = tmp_path_factory.mktemp(f"others{others}") / "storage"
        add_images(storage, others)
        for name, text in (("one", "RUN echo 1 >/n"), ("two", "RUN echo 2 >/n")):
            storage.with_name(name).write_text(f"FROM bb\nENV A=b\n{text}\n")
        words = ("import", str(busybox_tar), "bb"), ("build", "-t", "img", *_of(storage, "one"))
        for line in words:
            subprocess.run(
                [*command("ch-image"), *line],
                env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
                capture_output=True,
                check=True,
            )
        stores.append(storage)
    return stores


def _of(storage: Path, dockerfile: str) -> tuple[str, ...]:
    return ("-f", str(storage.with_name(dockerfile)), str(storage.parent))


def test_a_list_of_names_reads_one_file_of_each(two_stores: list[Path]) -> None:
    few, many = (file_system_calls(storage, "list") for storage in two_stores)
    others = sum(MANY - FEW for call in many if "image.json" in call)
    assert many.total() - few.total() - others < 20  # a listing has more parts


def test_a_table_reads_two_files_of_each(two_stores: list[Path]) -> None:
    """Those of the image and of its layer; no configuration."""
    for storage in two_stores:
        file_system_calls(storage, "list", "-l")  # the first one looks for sizes
    few, many = (file_system_calls(storage, "list", "-l") for storage in two_stores)
    others = sum(MANY - FEW for call in many if "image.json" in call or "layer.json" in call)
    own_files = MANY - FEW  # the image may have lost them
    assert many.total() - few.total() - others - own_files < 20
    assert not [call for call in many if "config.json" in call]


def test_images_of_an_earlier_version_are_listed_as_ever(two_stores: list[Path]) -> None:
    few, _ = two_stores
    environment = os.environ | {"CH_IMAGE_STORAGE": str(few)}

    def listed(*options: str) -> str:
        line = [*command("ch-image"), "list", *options]
        return subprocess.run(line, env=environment, stdout=PIPE, text=True, check=True).stdout

    before = listed("-l"), listed("--format=json")
    assert before[0].count("\n") == FEW + 2
    for path in (few / "images").glob("*/image.json"):
        value = json.loads(path.read_text())
        for name in ("id", "created", "platform"):
            del value[name]
        path.write_text(json.dumps(value))
    assert (listed("-l"), listed("--format=json")) == before


@pytest.mark.parametrize("end", ["build", "delete"])
def test_garbage_of_one_image_costs_no_look_at_others(two_stores: list[Path], end: str) -> None:
    def calls(storage: Path) -> Counter[str]:
        build = ("build", "--no-cache", "-t", "old")
        file_system_calls(storage, *build, *_of(storage, "one"))
        rebuilt = file_system_calls(storage, *build, *_of(storage, "two"))
        return file_system_calls(storage, "delete", "old") if end == "delete" else rebuilt

    few, many = map(calls, two_stores)
    assert any("/tmp/trash" in call and "rename" in call for call in few)  # a layer has gone
    assert few == many


@pytest.mark.parametrize(
    "words",
    [
        ("build", "-t", "img", "one"),
        ("tag", "img", "again"),
        ("inspect", "img"),
        ("history", "img"),
        ("list", "img"),
    ],
    ids="-".join,
)
def test_other_images_cost_no_call(two_stores: list[Path], words: tuple[str, ...]) -> None:
    def calls(storage: Path) -> Counter[str]:
        line = (*words[:-1], *_of(storage, words[-1])) if words[0] == "build" else words
        file_system_calls(storage, *line)  # the first one may find out and note something
        return file_system_calls(storage, *line)

    few, many = map(calls, two_stores)
    assert few.total() > 10
    assert few == many
