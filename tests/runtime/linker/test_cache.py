"""The linker's cache, against ``ldconfig``, which makes it and prints it."""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.runtime.linker.cache import (
    CACHE_HEADER,
    CACHE_MAGIC,
    CACHE_RECORD,
    EXTENSION_HEAD,
    EXTENSION_MAGIC,
    EXTENSION_SECTION,
    HWCAPS_SECTION,
    OWN_ORDER,
    SECTIONS_LIMIT,
    CachedLibrary,
    LinkerCache,
    cached_library,
)
from tests.runtime.devices.driver import compile_library

LDCONFIG = "/usr/sbin/ldconfig"
NAMES = ("liba.so.1", "libz9.so.1", "libz10.so.1", "lib0.so.2", "libz.so.1", "libzz-top.so.10")
ADDED = ("libz9.so.1", "libb.so.7", "libz10.so.2", "liba.so.10", "libzzz.so.1")


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with libraries, and one with more of them."""
    place = tmp_path_factory.mktemp("libraries")
    for directory, names in (("old", NAMES), ("new", ADDED)):
        for name in names:
            compile_library(place / directory / name, name, directory)
    return place


def cache_of(place: Path, kind: str, *directories: str) -> bytes:
    configuration = place / "conf"
    configuration.write_text("".join(f"{place}/{name}\n" for name in directories))
    target = place / "cache"
    words = ["-X", "-c", kind, "-f", str(configuration), "-C", str(target)]
    subprocess.run([LDCONFIG, *words], check=True, capture_output=True)
    return target.read_bytes()


def listed(place: Path, cache: bytes) -> list[tuple[str, str]]:
    path = place / "shown"
    path.write_bytes(cache)
    words = [LDCONFIG, "-p", "-C", str(path)]
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    found = re.findall(r"^\t(\S+) .*=> (\S+)$", text, re.M)
    return [(name, file) for name, file in found if file.startswith(str(place))]


@pytest.mark.parametrize("kind", ["new", "compat"])
def test_extended_cache_is_what_ldconfig_makes(libraries: Path, kind: str) -> None:
    old = cache_of(libraries, kind, "old")
    added = []
    for name in ADDED:
        with open(libraries / "new" / name, "rb") as file:
            library = cached_library(file.fileno(), os.fsencode(libraries / "new" / name))
        assert library is not None
        assert library.name == name.encode()
        added.append(library)
    extended = LinkerCache(old).extended(added)
    assert listed(libraries, extended) == listed(libraries, cache_of(libraries, kind, "new", "old"))
    found = [each.path for each in LinkerCache(extended).find(b"libz9.so.1")]
    assert found == [os.fsencode(libraries / name / "libz9.so.1") for name in ("new", "old")]
    assert LinkerCache(old).mentions(os.fsencode(libraries / "old"))
    assert not LinkerCache(old).mentions(os.fsencode(libraries))
    assert listed(libraries, LinkerCache(b"").extended(added))


BYTES = st.binary(max_size=400)


@given(head=BYTES, place=st.integers(0, 400), junk=BYTES, older=st.booleans())
def test_damaged_caches(head: bytes, place: int, junk: bytes, older: bool) -> None:
    """Whatever an image has there, there is a result."""
    sound = LinkerCache(b"").extended([CachedLibrary(b"liba.so", b"/a", 3)] * 3)
    data = sound[:place] + junk + sound[place + len(junk) :]
    if older:
        data = b"ld.so-1.7.0\0" + head
    cache = LinkerCache(data)
    cache.find(b"liba.so")
    cache.mentions(b"/x")
    cache.extended([CachedLibrary(b"libb.so", b"/b", 3)])


@given(data=BYTES, head=st.sampled_from([b"", b"\x7fELF\2\1", b"\x7fELF\1\2"]))
def test_damaged_libraries(data: bytes, head: bytes) -> None:
    fd = os.memfd_create("library")
    os.write(fd, head + data)
    library = cached_library(fd, b"/lib/x")
    os.close(fd)
    assert library is None or b"/" not in library.name


def hostile_cache(strings: bytes, records: list[tuple[int, int]], sections: int = 0) -> bytes:
    """Return a cache whose records have names and paths at these places of ``strings``."""
    start = CACHE_HEADER.size + len(records) * CACHE_RECORD.size
    body = b"".join([CACHE_RECORD.pack(3, start + a, start + b, 0, 0) for a, b in records])
    extension = start + len(strings)
    head = CACHE_HEADER.pack(CACHE_MAGIC, len(records), len(strings), OWN_ORDER, extension)
    tail = EXTENSION_HEAD.pack(EXTENSION_MAGIC, sections)
    tail += EXTENSION_SECTION.pack(HWCAPS_SECTION, 0, start, len(strings)) * sections
    return head + body + strings + tail


SIZE = 1 << 23


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "data",
    [
        hostile_cache(b"lib" + b"9" * SIZE + b"\0", [(0, 0)] * 9),
        hostile_cache(b"x" * SIZE + b"\0", [(0, 0)] * 9),
        hostile_cache(b"libz.so\0", [(0, 0)] * (SIZE // CACHE_RECORD.size)),
        hostile_cache(b"x" * SIZE, [(0, 0)], SECTIONS_LIMIT),
    ],
    ids=["digits", "a long name", "one name", "hwcaps"],
)
def test_hostile_caches_take_no_time(data: bytes) -> None:
    """Each number of them would take minutes if it counted."""
    begun = time.process_time()
    cache = LinkerCache(data)
    for number in range(30):
        cache.find(b"libz.so")
        cache.mentions(b"/lib%d" % number)
    cache.extended([CachedLibrary(b"libz.so", b"/b", 3)])
    assert time.process_time() - begun < 5
