"""``python -m scripts.pictures``: write the pictures of the documentation.

It runs in an environment that has Sundog, whose tables it reads.
"""

from __future__ import annotations

from scripts.pictures import chown, storage, wings
from scripts.place import CHECKOUT

DIRECTORY = CHECKOUT / "docs/explanation/pictures"
PICTURES = {"chown": chown.draw, "storage": storage.draw, "wings": wings.draw}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (DIRECTORY / f"{name}.svg").write_text(draw().render(), encoding="utf-8")
