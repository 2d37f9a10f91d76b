"""The wings and their rooms, as the contracts of pyproject.toml order them."""

from __future__ import annotations

import tomllib

from scripts.pictures.svg import PAD, WIDTH, Box, Drawing, width_of
from scripts.place import CHECKOUT

PURPOSES = {
    "front": "what users meet",
    "image": "formats, Dockerfiles, store, registries, builds",
    "runtime": "root emulation, mounts, processes, ch-run",
    "base": "the kernel's calls, formats on disk",
}
COLUMNS = (("front", "image"), ("runtime", "base"))
FLOOR, HEAD, GAP = 30, 30, 14  # pixels: a floor with its gap, the head of a wing, between wings


def floors() -> dict[str, list[list[str]]]:
    """Return the floors of each wing, the highest first."""
    text = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    found = {
        contract["containers"][0]: [floor.split(" | ") for floor in contract["layers"]]
        for contract in contracts
        if contract["type"] == "layers"
    }
    wings = [name for row in found["sundog"] for name in row if f"sundog.{name}" in found]
    if wings != list(PURPOSES):
        raise ValueError(f"other wings: {wings}")
    return {wing: found[f"sundog.{wing}"] for wing in wings}


def draw() -> Drawing:
    """Return the picture."""
    drawing = Drawing("The wings and their rooms; imports point downward, and to lower wings")
    wings = floors()
    width = (WIDTH - 3 * GAP - 40) / 2
    outlines: dict[str, Box] = {}
    for column, names in enumerate(COLUMNS):
        x, y = GAP + column * (width + GAP + 40), float(GAP)
        for wing in names:
            outline = Box(x, y, width, HEAD + FLOOR * len(wings[wing]) + PAD)
            drawing.frame(outline)
            drawing.text(x + PAD, y + 20, f"{wing}/", size=13, style="mono bold")
            drawing.text(x + width - PAD, y + 20, PURPOSES[wing], size=11, anchor="end")
            for number, rooms in enumerate(wings[wing]):
                share = (width - PAD) / len(rooms)
                for place, room in enumerate(rooms):
                    if width_of(room, 12, mono=True) > share - 3 * PAD:
                        raise ValueError(f"no space for {room}")
                    spot = Box(x + PAD + place * share, y + HEAD + FLOOR * number, share - PAD, 24)
                    drawing.box(spot, [room])
            outlines[wing] = outline
            y = outline.bottom + 40
    for above, below in (("front", "image"), ("runtime", "base")):
        middle = outlines[above].middle
        drawing.arrow((middle, outlines[above].bottom), (middle, outlines[below].y))
    image, runtime = outlines["image"], outlines["runtime"]
    drawing.arrow((image.x + width, image.y + 60), (runtime.x, image.y + 60))
    return drawing
