"""Stores on both drivers, and small images to put into them."""

import io
import os
import tarfile
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import pytest

from sundog.base.record.names import canonical_name
from sundog.image.oci.config import ImageConfig
from sundog.image.store.drivers import DRIVERS
from sundog.image.store.image_files import Image
from sundog.image.store.store import Store

Attributes = Mapping[str, object]
NONE: dict[str, Attributes] = {}
# path → contents; None is a directory, a tuple (target,) a symlink
Files = dict[str, bytes | tuple[str] | None]

ROOT_FILES: Files = {
    "bin": None,
    "bin/tool": b"#!/bin/sh\n",
    "etc": None,
    "etc/motd": b"hello\n",
    "etc/link": ("/etc/motd",),
    "usr": None,
}


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    """Return the name of each driver in turn."""
    name: str = request.param
    return name


@pytest.fixture
def open_store(storage: Path, driver: str) -> Generator[Callable[[], Store]]:
    """Return a function that opens this test's storage directory, as each command does."""
    stores = []

    def open_it() -> Store:
        store = Store.open(str(storage), driver=driver)
        stores.append(store)
        return store

    yield open_it
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()


def write_tar(path: Path, files: Files, extra: Mapping[str, Attributes] = NONE) -> Path:
    """Write a tar of ``files``, with ``extra`` attributes of TarInfo by path."""
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.mode = 0o644
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, tuple):
                info.type, info.linkname = tarfile.SYMTYPE, content[0]
            else:
                info.size = len(content)
            for attribute, value in extra.get(name, {}).items():
                setattr(info, attribute, value)
            tar.addfile(info, io.BytesIO(content if isinstance(content, bytes) else b""))
    return path


@pytest.fixture
def root_tar(tmp_path: Path) -> Path:
    """Return a tar of a small root file system."""
    return write_tar(tmp_path / "root.tar", ROOT_FILES)


def image(name: str, *layers: str, **config: object) -> Image:
    """Return an image of this name, with a configuration of these fields."""
    return Image(
        canonical_name(name),
        name,
        ImageConfig(**config),  # type: ignore[arg-type]
        layers,
    )


def temporary_things(storage: Path) -> list[str]:
    """Return the names of what is in ``tmp/`` while no command runs."""
    tmp = storage / "tmp"
    return [name for name in os.listdir(tmp) if name != "trash"] + os.listdir(tmp / "trash")


def contents(tree: Path) -> dict[str, bytes | None]:
    """Return the paths below ``tree``, with the contents of the regular files."""
    return {
        str(path.relative_to(tree)): path.read_bytes()
        if path.is_file() and not path.is_symlink()
        else None
        for path in sorted(tree.rglob("*"))
    }
