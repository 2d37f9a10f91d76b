"""The contents of an image when it leaves the store: the tars of its layers, merged."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sundog.image.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.builder.conftest import Workshop

KINDS = {b"0": "f", b"5": "d", b"2": "l", b"1": "h", b"6": "p", b"3": "c", b"4": "b"}


@dataclass(frozen=True)
class Entry:
    """A member of a layer's tar."""

    kind: str
    owner: str
    mode: int
    mtime: int
    link: str
    size: int
    head: bytes = b""

    def __str__(self) -> str:
        return f"{self.kind} {self.owner} {self.mode:o}"


def entries(workshop: Workshop, *, image: str = "img", above: str = "bb") -> dict[str, Entry]:
    """Return the files that the layers of ``image`` have beyond those of ``above``, by path."""
    found: dict[str, Entry] = {}
    tar = workshop.context.parent / "layer.tar"
    storage = workshop.ch_image("gestalt", "storage-path").stdout.strip()
    with Store.open(storage) as store:
        base = store.images.get(above).layers if above else ()
        for layer in store.images.get(image).layers[len(base) :]:
            store.layers.write_tar(layer, bytes(tar))
            found |= read(tar)
    return found


def _head(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member) if member.isfile() else None
    return file.read(20) if file else b""


def read(tar: Path) -> dict[str, Entry]:
    """Return the members of a tar by path."""
    with tarfile.open(tar) as archive:
        return {
            member.name.rstrip("/"): Entry(
                KINDS[member.type],
                f"{member.uid}:{member.gid}",
                member.mode,
                int(member.mtime),
                member.linkname,
                member.size,
                _head(archive, member),
            )
            for member in archive
        }
