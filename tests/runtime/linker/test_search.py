"""The directories of a linker, read from a root that may be hostile."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sundog.runtime.container.root_files import NAMES_LIMIT, names_inside
from sundog.runtime.linker.search import (
    PATTERNS_LIMIT,
    SEARCHED_HWCAPS_LIMIT,
    LibrarySearch,
    LinkerConfiguration,
)
from tests.runtime.linker.elf import elf

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def search(root: Path, *first: bytes) -> LibrarySearch:
    return LibrarySearch(os.open(root, os.O_PATH | os.O_DIRECTORY), first)


def add(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(elf("libx.so.1"))


def configure(root: Path, **files: str) -> None:
    (root / "etc/conf.d").mkdir(parents=True)
    for name, text in files.items():
        place = root / ("etc/ld.so.conf" if name == "main" else f"etc/conf.d/{name}.conf")
        place.write_text(text)


def test_order(tmp_path: Path) -> None:
    names = ("first", "b", "a", "lib/x86_64-linux-gnu", "usr/lib")
    add(tmp_path, *[f"{name}/libx.so.1" for name in names], "b/glibc-hwcaps/x86-64-v3/libx.so.1")
    main = "# text\n/b\t# more\ninclude conf.d/*.conf\nhwcap 1 x\nrelative\n/missing\n"
    configure(tmp_path, main=main, one="/a=libc6\n")
    found = search(tmp_path, b"/first")
    assert found.directories == [
        b"/first",
        b"/b/glibc-hwcaps/x86-64-v3",
        *(b"/b", b"/a", b"/lib/x86_64-linux-gnu", b"/lib", b"/usr/lib"),
    ]
    assert found.configuration == [b"/etc/ld.so.conf", b"/etc/conf.d/one.conf"]
    assert len(found.paths(name=b"libx.so.1")) == 6
    library = found.find(b"libx.so.1")
    assert library is not None
    assert library.path == b"/first/libx.so.1"
    assert found.find(b"libx.so.1", (1, 32, "big")) is None


def test_libraries_for_all_processors(tmp_path: Path) -> None:
    add(tmp_path, "usr/lib/libx.so.1", "usr/lib/glibc-hwcaps/x86-64-v9/libx.so.1")
    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    assert LibrarySearch(root, newer=False).paths(name=b"libx.so.1") == [b"/usr/lib/libx.so.1"]


def test_endless_configuration(tmp_path: Path) -> None:
    configure(
        tmp_path,
        main="include conf.d/*\ninclude /etc/ld.so.conf\n",
        a="include *\n/usr/local/lib\n",
        b="include ../conf.d/*\n" * 50,
    )
    (tmp_path / "etc/conf.d/zero.conf").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "etc/conf.d/fifo.conf")
    add(tmp_path, "usr/local/lib/libx.so.1")
    assert b"/usr/local/lib" in search(tmp_path).directories


def test_links_stay_in_the_root(tmp_path: Path) -> None:
    add(tmp_path, "outside/libx.so.1", "root/usr/lib/liby.so.1")
    root = tmp_path / "root"
    (root / "lib").symlink_to(tmp_path / "outside")
    (root / "usr/lib/libx.so.1").symlink_to("../" * 30 + f"{tmp_path}/outside/libx.so.1")
    (root / "usr/lib/libz.so.1").symlink_to("/usr/lib/liby.so.1")
    found = search(root)
    assert found.directories == [b"/usr/lib"]
    assert found.find(b"libx.so.1") is None
    inside = found.find(b"libz.so.1")
    assert inside is not None
    assert inside.file_name == b"liby.so.1"


def test_bounds(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(50):
        (tmp_path / "many" / str(number)).touch()
    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    assert len(names_inside(root, b"/many", 7)) == 7
    assert len(names_inside(root, b"/many", NAMES_LIMIT)) == 50
    assert names_inside(root, b"/many", 0) == []
    assert names_inside(root, b"/none") == []


def test_few_libraries_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sundog.runtime.linker.search.LIBRARIES_READ_LIMIT", 2)
    add(tmp_path, "lib/libx.so.1")
    found = search(tmp_path)
    opened = [found.open(b"/lib/libx.so.1"), found.open(b"/none"), found.open(b"/lib/libx.so.1")]
    assert [each is not None for each in opened] == [True, False, True]
    assert found.open(b"/lib/libx.so.1") is None


def test_few_names_are_compared_with_patterns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large directory and many patterns took minutes."""
    monkeypatch.setattr("sundog.runtime.linker.search.NAMES_LIMIT", 25)
    found = []
    for count in (2, 3):
        root = tmp_path / str(count)
        configure(root, main="include many/*b\n" * count + "include conf.d/*\n", one="/a\n")
        (root / "etc/many").mkdir()
        for number in range(10):
            (root / f"etc/many/{number}").touch()
        read = LinkerConfiguration(os.open(root, os.O_PATH | os.O_DIRECTORY))
        found.append((read.directories, read.is_cut))
    assert found == [([b"/a"], False), ([], True)]


def test_hostile_configurations(tmp_path: Path) -> None:
    """Many patterns over a directory, and many processors, are looked at in part only."""
    (tmp_path / "etc/many").mkdir(parents=True)
    for number in range(100):
        (tmp_path / "etc/many" / f"{'a' * 100}{number}").touch()
    add(tmp_path, *[f"lib/glibc-hwcaps/{number}/libx.so.1" for number in range(100)])
    last = ("include many/*b\n" * (PATTERNS_LIMIT - 1), "include conf.d/*\n", "include many/*\n")
    configure(tmp_path, main="".join(last), one="/none\n")
    found = search(tmp_path)
    assert found.configuration == [b"/etc/ld.so.conf", b"/etc/conf.d/one.conf"]
    assert len(found.directories) == SEARCHED_HWCAPS_LIMIT + 1
