"""The pictures of the documentation: as the tables make them, readable, and true of a store."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from scripts.pictures import storage as pictured
from scripts.pictures.__main__ import DIRECTORY, PICTURES
from scripts.pictures.svg import WIDTH


@pytest.mark.parametrize("name", PICTURES)
def test_the_file_is_what_the_tables_make(name: str) -> None:
    assert (DIRECTORY / f"{name}.svg").read_text() == PICTURES[name]().render(), "make docs"


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps(name: str) -> None:
    drawing = PICTURES[name]()
    for group in (drawing.boxes, drawing.texts):
        for one, other in itertools.combinations(group, 2):
            assert not one.overlaps(other), (one, other)
    for text in drawing.texts:
        assert text.x >= 0
        assert text.x + text.width <= WIDTH
        for box in drawing.boxes:
            inside = box.x <= text.x and text.x + text.width <= box.x + box.width
            assert inside or not text.overlaps(box), (text, box)
    root = ElementTree.fromstring(drawing.render())
    assert float(root.attrib["width"]) <= 760


def test_all_are_on_a_page() -> None:
    shown = subprocess.run(
        ["grep", "-rhoE", r"pictures/[a-z]+\.svg", DIRECTORY.parents[1]],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {Path(line).stem for line in shown.stdout.split()}
    assert names == set(PICTURES) == {path.stem for path in DIRECTORY.iterdir()}


@pytest.mark.usefixtures("bb")
def test_a_store_has_what_the_picture_shows(storage: Path) -> None:
    """The directories of an image and of its layer, after an import."""
    (image,) = (storage / "images").iterdir()
    (layer,) = (storage / "layers").iterdir()
    for directory, table in ((image, pictured.IMAGE), (layer, pictured.LAYER)):
        assert {path.name for path in directory.iterdir()} == {name.strip("/") for name in table}
    shown = {*pictured.directories(), "images", "layers", "blobs", "cache"}
    assert {path.name for path in storage.iterdir()} <= shown
