"""The comparison of `make fidelity` is not blind: it sees each kind of difference."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from scripts.fidelity import inside
from scripts.fidelity.compare import compare
from scripts.fidelity.entries import Entry, View, of_directory, of_layers

if TYPE_CHECKING:
    from pathlib import Path

FILE = Entry("file", 0o644, 0, 0)


def layer(path: Path, *members: tuple[str, bytes, dict[str, Any]]) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, more in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            for key, value in more.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO())
    return path


def test_layers_hide_replace_and_link(tmp_path: Path) -> None:
    low = layer(
        tmp_path / "0.tar",
        ("./", tarfile.DIRTYPE, {"mode": 0o755}),
        ("gone", tarfile.REGTYPE, {}),
        ("emptied", tarfile.DIRTYPE, {}),
        ("emptied/old", tarfile.REGTYPE, {}),
        ("tree", tarfile.DIRTYPE, {}),
        ("tree/in", tarfile.REGTYPE, {}),
        ("one", tarfile.REGTYPE, {"uid": 5}),
        ("two", tarfile.LNKTYPE, {"linkname": "one"}),
        ("tmp/x", tarfile.REGTYPE, {}),
    )
    high = layer(
        tmp_path / "1.tar",
        (".wh.gone", tarfile.REGTYPE, {}),
        ("emptied", tarfile.DIRTYPE, {}),
        ("emptied/.wh..wh..opq", tarfile.REGTYPE, {}),
        ("emptied/new", tarfile.REGTYPE, {"gid": 42, "mode": 0o640}),
        ("emptied/newer", tarfile.LNKTYPE, {"linkname": "emptied/new"}),
        ("tree", tarfile.SYMTYPE, {"linkname": "one", "mode": 0o777}),
        ("null", tarfile.CHRTYPE, {"devmajor": 1, "devminor": 3}),
        (
            "program",
            tarfile.REGTYPE,
            {"pax_headers": {"SCHILY.xattr.security.capability": "\1\0\udcff"}},
        ),
    )
    view, made = of_layers([low, high])
    assert set(view.entries) == {
        *(".", "emptied", "emptied/new", "emptied/newer", "tree", "one", "two", "null", "program")
    }
    assert view.entries["emptied/newer"] == Entry("file", 0o640, 0, 42)
    assert view.entries["tree"] == Entry("symlink", 0o777, 0, 0, target="one")
    assert view.entries["null"] == Entry("character device", 0o644, 0, 0, (1, 3))
    assert view.entries["program"] == replace(FILE, xattrs=(("security.capability", "0100ff"),))
    assert view.links == {
        **dict.fromkeys(("one", "two"), frozenset({"one", "two"})),
        **dict.fromkeys(
            ("emptied/new", "emptied/newer"), frozenset({"emptied/new", "emptied/newer"})
        ),
    }
    assert made == {"emptied", "emptied/new", "emptied/newer", "tree", "null", "program"}


def test_directory_and_programs_tell_the_same(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "d").mkdir(parents=True)
    (top / "proc").mkdir()
    (top / "d/file").write_text("x")
    os.link(top / "d/file", top / "d/other")
    os.mkfifo(top / "fifo")
    (top / "link").symlink_to("d")
    view = of_directory(top)
    assert set(view.entries) == {".", "d", "d/file", "d/other", "fifo", "link"}
    assert view.links["d/file"] == {"d/file", "d/other"}
    look = tmp_path / "look"
    script = inside.SCRIPT.replace(inside.DIRECTORY, str(look)).replace("cd /;", f"cd {top};")
    subprocess.run(["sh", "-c", script], check=True)
    seen = inside.read(look)
    assert seen["stat"].links == view.links
    assert set(seen["stat"].entries) == set(seen["find"].entries) == set(view.entries) - {"."}
    file = view.entries["d/file"]
    assert isinstance(file, Entry)
    assert seen["stat"].entries["d/file"] == f"{0o100000 | file.mode:x} {file.uid} {file.gid} 0 0"


@pytest.mark.parametrize(
    "changed",
    [
        replace(FILE, type="fifo"),
        replace(FILE, mode=0o4644),
        replace(FILE, uid=1),
        replace(FILE, gid=1),
        replace(FILE, device=(1, 3)),
        replace(FILE, target="elsewhere"),
        replace(FILE, xattrs=(("security.capability", "00"),)),
        None,
    ],
    ids=str,
)
def test_each_kind_of_difference_is_seen(changed: Entry | None) -> None:
    real = View({"same": FILE, "file": FILE})
    emulated = View({"same": FILE})
    if changed:
        emulated.entries["file"] = changed
    for one, other in ((real, emulated), (emulated, real)):
        compared, found = compare("tar", one, other, frozenset())
        assert compared == 2
        assert [difference.path for difference in found] == ["file"]
    assert compare("tar", real, real, frozenset()) == (2, [])


def test_lost_links_are_seen_where_the_install_made_them() -> None:
    entries: dict[str, Entry | str] = {"a": FILE, "b": FILE, "below": FILE}
    real = View(entries, dict.fromkeys(entries, frozenset(entries)))
    lost = View(entries)
    _, found = compare("tar", real, lost, frozenset({"a", "b"}))
    assert [str(difference) for difference in found] == [
        "a: real root: also b; emulated: no other name",
        "b: real root: also a; emulated: no other name",
    ]
    assert compare("tar", real, lost, frozenset({"a"})) == (3, [])
