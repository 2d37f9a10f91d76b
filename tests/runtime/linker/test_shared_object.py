"""The reader of ELF files, compared with readelf, and given damaged files."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.runtime.linker.elf import NAME_BYTES_LIMIT, TABLE_NAME_LIMIT, ElfError
from sundog.runtime.linker.shared_object import DT_VERNEED, SharedObject
from tests.runtime.linker.elf import elf
from tests.runtime.linker.machine import library

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


def test_a_soname_is_no_path() -> None:
    """``ch-run`` makes files with these names."""
    assert read(elf("../../x")).soname == b""


def test_too_many_names() -> None:
    """A small file can name one long text many times."""
    count = NAME_BYTES_LIMIT // TABLE_NAME_LIMIT + 2
    long = "x" * (TABLE_NAME_LIMIT - 1)
    with pytest.raises(ElfError, match="too many names"):
        read(elf("libx.so.1", needed=[long] * count))
    read(elf("libx.so.1", needed=[long] * (count // 2)))


@pytest.mark.timeout(20)
def test_chains_in_chains() -> None:
    """Each of 1,500 needed files has the versions of all that follow."""
    count = 1500
    data = bytearray(elf("libx.so.1", wanted={f"f{n}": ["v"] for n in range(count)}))
    place = read(bytes(data)).dynamic[DT_VERNEED]
    for number in range(count - 1):
        struct.pack_into("<H", data, place + 32 * number + 2, count - number)
        struct.pack_into("<I", data, place + 32 * number + 28, 32)
    with pytest.raises(ElfError, match="too many names"):
        read(bytes(data))


def test_offsets_beyond_all_files() -> None:
    """pread(2) takes none of them."""
    data = bytearray(WHOLE)
    for place in (64 + 8, 64 + 56 + 8):  # of the segments, and of the dynamic section
        changed = data[:place] + b"\xff" * 7 + b"\x7f" + data[place + 8 :]
        with pytest.raises(ElfError):
            read(bytes(changed))


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
