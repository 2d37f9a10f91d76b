"""The reader of ELF files, compared with readelf, and given damaged files."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.linker.shared_object import ElfError, SharedObject
from tests.linker.elf import elf
from tests.linker.test_ldconfig import library

WHOLE = elf(
    "libx.so.1",
    needed=["liby.so.2", "libc.so.6"],
    runpath="$ORIGIN/x",
    defined=["X_1", "X_2"],
    wanted={"libc.so.6": ["GLIBC_2.2.5", "GLIBC_2.38"], "liby.so.2": ["Y"]},
)


def read(data: bytes) -> SharedObject:
    fd = os.memfd_create("elf")
    try:
        os.write(fd, data)
        return SharedObject(fd)
    finally:
        os.close(fd)


def test_what_it_says() -> None:
    found = read(WHOLE)
    assert found.machine == (62, 64, "little")
    assert (found.soname, found.runpath, found.rpath) == (b"libx.so.1", b"$ORIGIN/x", b"")
    assert found.needed == [b"liby.so.2", b"libc.so.6"]
    assert found.defined == {b"X_1", b"X_2"}
    assert found.wanted == {b"libc.so.6": {b"GLIBC_2.2.5", b"GLIBC_2.38"}, b"liby.so.2": {b"Y"}}
    assert not found.interpreter


def test_like_readelf() -> None:
    """For libraries of this machine, of several makers."""
    directory = library("libc.so.6").resolve().parent
    paths = sorted(path for path in directory.glob("lib*.so.*") if path.is_file())[::40]
    assert len(paths) > 5
    for path in (*paths, directory / "libc.so.6", Path("/bin/sh")):
        command = ["readelf", "-W", "-d", "-V", "-l", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={})
        text = done.stdout
        with path.open("rb") as file:
            found = SharedObject(file.fileno())
        assert found.needed == [
            name.encode() for name in re.findall(r"\(NEEDED\).*\[(.*)\]", text)
        ], path
        sonames = re.findall(r"\(SONAME\).*\[(.*)\]", text)
        assert [found.soname] == ([name.encode() for name in sonames] or [b""])
        definitions, _, needs = text.partition("Version needs section")
        defined = re.findall(r"Flags: (?!BASE).*Index: \d+ .*Name: (\S+)", definitions)
        assert found.defined == {name.encode() for name in defined}, path
        wanted = re.findall(r"Name: (\S+)  Flags:", needs)
        assert set().union(*found.wanted.values()) == {name.encode() for name in wanted}, path
        assert found.interpreter == ("INTERP" in text)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=8),
    st.integers(0, len(WHOLE)),
)
def test_damaged_files(changes: list[tuple[int, int]], size: int) -> None:
    """The reader returns, or raises its own error; never much memory, never an endless loop."""
    data = bytearray(WHOLE)
    for at, value in changes:
        data[at] = value
    with suppress(ElfError):
        read(bytes(data[: max(size, 40)]))
    with suppress(ElfError):
        read(bytes(data))
