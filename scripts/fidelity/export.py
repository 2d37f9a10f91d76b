"""Write an image's layers as tars, bottom first: 0.tar, 1.tar and on.  Run by Sundog's own Python.

Arguments: the storage directory, the image's name, the directory to write to.
"""

from __future__ import annotations

import os
import sys

from sundog.image.store.store import Store


def main(storage: str, image: str, directory: str) -> None:
    """Write the tars."""
    with Store.open(storage) as store:
        for number, layer in enumerate(store.images.get(image).layers):
            store.layers.write_tar(layer, os.path.join(directory, f"{number}.tar").encode())


main(*sys.argv[1:])
