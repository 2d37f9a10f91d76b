"""mksquashfs understands what it is told of any names, owners and attributes."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.base.record.owners import OwnerRecord
from sundog.image.convert.pseudo_file import attribute, describe
from sundog.image.layer.below import Below, LayerTree
from tests.image.convert.formats import in_squash, in_tar

# Bytes that mean something to mksquashfs come more often than others.
BYTE = st.sampled_from(b" \t\v\f\r\\\"'#=/\x00ax0m.\xa0\xff") | st.integers(1, 255)
NAME = st.lists(BYTE, min_size=1, max_size=12).map(
    lambda numbers: bytes(number for number in numbers if number not in b"/\0\n")
)
NAMES = st.lists(
    NAME.filter(lambda name: name not in (b"", b".", b"..")), min_size=1, max_size=8, unique=True
)
NUMBER = st.integers(0, (1 << 32) - 2)
ATTRIBUTES = st.dictionaries(
    st.from_regex(rb"(user|trusted|security)\.[!-<>-~]{1,20}", fullmatch=True),
    st.binary(min_size=1, max_size=100),
    max_size=3,
)
KIND = st.sampled_from("fdlc")


@settings(max_examples=40, deadline=None)
@given(names=NAMES, data=st.data())
def test_any_names_owners_and_attributes(names: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        tree = os.fsencode(place) + b"/tree"
        os.mkdir(tree)
        owners, expected = {}, {}
        directory = b""
        for name in names:
            path = directory + name
            kind, uid, gid = data.draw(KIND), data.draw(NUMBER), data.draw(NUMBER)
            xattrs = data.draw(ATTRIBUTES)
            if kind in "lc":
                xattrs = {key: xattrs[key] for key in xattrs if not key.startswith(b"user.")}
            content, mode = b"", {"l": 0o777, "d": 0o755}.get(kind, 0o640)
            if kind == "d":
                os.mkdir(os.path.join(tree, path), mode)
            elif kind == "l":
                content = name
                os.symlink(content, os.path.join(tree, path))
            else:
                content = b"" if kind == "c" else b"content"
                fd = os.open(os.path.join(tree, path), os.O_WRONLY | os.O_CREAT, mode)
                os.write(fd, content)
                os.close(fd)
            device = (1, 3) if kind == "c" else (0, 0)
            owners[path] = OwnerRecord(
                kind, uid, gid, rdev=os.makedev(*device), xattrs=tuple(xattrs.items())
            )
            found = tuple(sorted((key.decode(), value) for key, value in xattrs.items()))
            expected[path] = (kind, mode, uid, gid, device, content, found)
            if kind == "d" and data.draw(st.booleans()):
                directory = path + b"/"
        with Below([LayerTree(tree, owners)]) as view:
            description = describe(view, {}, b"/nowhere", keeps_xattrs=True)
        assert description is not None
        (Path(place) / "pseudo").write_bytes(description.definitions)
        (Path(place) / "excluded").write_bytes(description.excluded)
        subprocess.run(
            [
                *("mksquashfs", tree, f"{place}/out", "-quiet", "-no-progress", "-exit-on-error"),
                *("-all-root", "-pseudo-override", "-xattrs-exclude", "."),
                *("-pf", f"{place}/pseudo", "-ef", f"{place}/excluded"),
            ],
            check=True,
            capture_output=True,
        )
        found_ = in_tar(in_squash(Path(place) / "out"))
        del found_[b""]
        assert {path: (*value[:6], value[7]) for path, value in found_.items()} == expected


def test_a_long_value_is_one_definition_of_several_lines(tmp_path: Path) -> None:
    tree, value = tmp_path / "tree", bytes(range(256)) * 200
    tree.mkdir()
    name = "\\" * 200
    (tree / name).touch()
    record = OwnerRecord("f", xattrs=((b"trusted.x", value),))
    with Below([LayerTree(os.fsencode(tree), {name.encode(): record})]) as view:
        description = describe(view, {}, b"", keeps_xattrs=True)
    assert description is not None
    lines = description.definitions.splitlines()
    assert max(map(len, lines)) < 16384
    assert len(lines) > 1
    assert b"".join(line.removesuffix(b"\\") for line in lines).endswith(
        attribute(b"trusted.x", value)
    )


@pytest.mark.parametrize(("limit", "is_described"), [(15, True), (14, False)])
def test_what_would_take_mksquashfs_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, is_described: bool
) -> None:
    """It looks through the names of a directory for each definition there or below."""
    # 3 names in deep/er, one in deep, one in the root; each for 3 definitions.
    monkeypatch.setattr("sundog.image.convert.pseudo_file._COMPARISONS_LIMIT", limit)
    tree = tmp_path / "tree"
    (tree / "deep/er").mkdir(parents=True)
    owners = {b"deep/er/%d" % number: OwnerRecord("f", 1) for number in range(3)}
    for path in owners:
        (tree / os.fsdecode(path)).touch()
    with Below([LayerTree(os.fsencode(tree), owners)]) as view:
        assert (describe(view, {}, b"", keeps_xattrs=True) is not None) == is_described
