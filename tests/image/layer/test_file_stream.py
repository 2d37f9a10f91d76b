"""``layer.file_stream``: tars that others have made, and files that an image has made."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from sundog.errors import SundogError
from sundog.image.layer.file_stream import pack, unpack

if TYPE_CHECKING:
    from pathlib import Path

MODE = slice(100, 108)
CHECKSUM = slice(148, 156)


def tar(data: bytes = b"x", **header: Any) -> bytes:
    """Return a tar of one member, whose header has been changed."""
    info = tarfile.TarInfo("a")
    info.size = len(data)
    for name, value in header.items():
        setattr(info, name, value)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def with_mode(number: int) -> bytes:
    """Return a tar whose member has a mode that takes more than 32 bits."""
    data = bytearray(tar())
    data[MODE] = number.to_bytes(8, "big")
    data[CHECKSUM] = b" " * 8
    data[CHECKSUM] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


def unpacked(data: bytes, place: Path) -> Path:
    (place / "tar").write_bytes(data)
    (place / "out").mkdir()
    with (place / "tar").open("rb") as file:
        unpack(os.fsencode(place / "out"), file.fileno(), overwrite=False, keep_set_id=False)
    return place / "out" / "a"


DAMAGED = {
    "a time that is no number": tar(pax_headers={"mtime": "nan"}),
    "an endless time": tar(pax_headers={"mtime": "inf"}),
    "a directory's time": tar(b"", type=tarfile.DIRTYPE, pax_headers={"mtime": "nan"}),
    "a NUL in a path": tar(pax_headers={"path": "a\0b"}),
    "a NUL in a link": tar(b"", type=tarfile.SYMTYPE, pax_headers={"linkpath": "a\0b"}),
    "no list of holes": tar(
        b"\0" * 512,
        pax_headers={
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.realsize": "9",
            "GNU.sparse.name": "a",
        },
    ),
    "text": b"no tar\n" * 200,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_tars(name: str, tmp_path: Path) -> None:
    with pytest.raises(SundogError, match=r"^not a tar: "):
        unpacked(DAMAGED[name], tmp_path)


def test_odd_numbers(tmp_path: Path) -> None:
    """A mode has 12 bits, and a time what the file system can keep."""
    for place, number in (("one", 1 << 63 | 1 << 40 | 0o6751), ("two", (1 << 64) - 1)):
        (tmp_path / place).mkdir()
        made = unpacked(with_mode(number), tmp_path / place)
        assert stat.S_IMODE(made.stat().st_mode) == number & 0o1777
    (tmp_path / "late").mkdir()
    made = unpacked(tar(pax_headers={"mtime": "1e300"}), tmp_path / "late")
    assert made.stat().st_mtime > 1 << 31


def test_holes_take_no_room(tmp_path: Path) -> None:
    """A small file of an image, or a small tar, fills no disk."""
    size = 1 << 26
    with (tmp_path / "a").open("wb") as file:
        file.write(b"x")
        file.truncate(size)
    with (tmp_path / "packed").open("wb") as stream:
        pack(os.fsencode(tmp_path / "a"), b"a", stream.fileno())
    made = unpacked((tmp_path / "packed").read_bytes(), tmp_path)
    assert made.stat().st_size == size
    assert made.stat().st_blocks * 512 < size // 16
    with made.open("rb") as file:
        assert file.read(2) == b"x\0"


def test_holes_take_no_time(tmp_path: Path) -> None:
    """Nobody reads or writes the zeros of a hole of a petabyte, in a file of an image or a tar."""
    size, places = 1 << 42, (0, 1 << 41)  # ext4 has 16 TiB at most
    with (tmp_path / "a").open("wb") as file:
        for place in places:
            file.seek(place)
            file.write(b"x" * 9000)
        file.truncate(size)
    with (tmp_path / "packed").open("wb") as stream:
        pack(os.fsencode(tmp_path / "a"), b"a", stream.fileno())
    packed = (tmp_path / "packed").read_bytes()
    assert len(packed) < 1 << 16
    made = unpacked(packed, tmp_path)
    assert (made.stat().st_size, made.stat().st_blocks) == (
        size,
        (tmp_path / "a").stat().st_blocks,
    )
    with made.open("rb") as file:
        for place in places:
            file.seek(place)
            assert file.read(9001) == b"x" * 9000 + b"\0"


def test_too_many_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sundog.image.layer.file_stream._EXTENTS_LIMIT", 2)
    with (tmp_path / "a").open("wb") as file:
        for place in range(3):
            file.seek(place << 20)
            file.write(b"x")
    with (
        (tmp_path / "packed").open("wb") as stream,
        pytest.raises(SundogError, match=r"^a has more holes than a tar can hold"),
    ):
        pack(os.fsencode(tmp_path / "a"), b"a", stream.fileno())


MAPS = {"1.0": ("GNU.sparse.realsize", b"1\n%d\n1\n"), "0.1": ("GNU.sparse.size", b"")}


@pytest.mark.parametrize("version", MAPS)
@pytest.mark.parametrize("start", [1 << 40, -1, 1 << 62])
def test_maps_of_holes(version: str, start: int, tmp_path: Path) -> None:
    """A map may lead anywhere: outside of the file is a fault, and a far place is soon there."""
    name, text = MAPS[version]
    major, minor = version.split(".")
    headers = {name: str((1 << 40) + 1), "GNU.sparse.name": "a"}
    if text:
        headers |= {"GNU.sparse.major": major, "GNU.sparse.minor": minor}
        data = (text % start).ljust(512, b"\0") + b"x"
    else:
        headers |= {"GNU.sparse.numblocks": "1", "GNU.sparse.map": f"{start},1"}
        data = b"x"
    packed = tar(data, pax_headers=headers)
    if start == 1 << 40:
        assert unpacked(packed, tmp_path).stat().st_size == (1 << 40) + 1
    else:
        with pytest.raises(SundogError, match=r"^not a tar: .*holes"):
            unpacked(packed, tmp_path)
