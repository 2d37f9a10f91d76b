"""SquashFS of mounted layers is the same as SquashFS of a tar of them, as others read it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command, run_program, until
from tests.image.convert.formats import (
    CAPABILITY,
    ODD,
    XATTR,
    in_squash,
    in_tar,
    links_in_tar,
    make_layout,
)
from tests.image.convert.test_convert import Place
from tests.image.layer.archives import MTIME, Entry, directory, file, hard_link, symlink

if TYPE_CHECKING:
    from tests.image.convert.formats import Found

# It keeps the options that it is called with, each in a line.
NOTING = """\
#!/bin/sh
for word; do echo "$word"; done >"${0%/*}/../options"
pwd >"${0%/*}/../directory"
exec /usr/bin/mksquashfs "$@"
"""
# It hangs until it is killed.
HANGING = """\
#!/bin/sh
[ "$1" = -version ] && exec echo 'mksquashfs version 4.6 (2023/03/17)'
echo $$ >"${0%/*}/../pid.part"
mv "${0%/*}/../pid.part" "${0%/*}/../pid"
exec sleep 1000
"""
# Names that mean something in a pseudo file, or in a list of excluded files.
NAMES = (
    *(" blank ", "#comment", '"quoted"', 'half"', "back\\slash", "end\\", "\\x41", "equals=x=y"),
    *("\t\v\f\r", "\x01\x7f\x80\xa0\xff", "%s%n", "$(touch x)", "`x`", "-all-root", "m 755 0 0"),
    *("l /etc/passwd", "0x00", "~", "*", "[a-z]", "...", " "),
)
LONG = "/".join(["deep" * 40] * 12)
ATTRIBUTES = {
    f"{XATTR}user.binary": '\x01=\n\\" \x80\xff'.encode().decode("latin-1"),
    f"{XATTR}user.long": "x" * 20_000,
    f"{XATTR}security.selinux": "system_u:object_r:bin_t:s0\0",
    f"{XATTR}trusted.thing": "yes",
}
HOSTILE = (
    directory("./", mode=0o1751, mtime=MTIME - 5, pax={f"{XATTR}user.root": "r"}),
    directory("owned", mode=0o3775, uid=1, gid=2, mtime=MTIME - 1),
    *(file(f"owned/{name}", name.encode(), uid=3, gid=4, mode=0o4750) for name in NAMES),
    *(directory(f"owned/{name}.d", uid=5, gid=6) for name in NAMES),
    *(symlink(f"owned/{name}.d/link", name, uid=7) for name in NAMES),
    *(Entry(f"owned/{name}.c", "c", mode=0o600, uid=8, device=(1, 3)) for name in NAMES),
    directory(f"owned/{LONG}", uid=9),
    file(f"owned/{LONG}/file", uid=9),
    Entry("owned/block", "b", mode=0o660, gid=6, device=(4095, 1048575)),
    Entry("owned/pipe", "p", mode=0o600, uid=10, mtime=MTIME - 2),
    file("attributes", pax=ATTRIBUTES),
    directory("attributes.d", pax=ATTRIBUTES),
    symlink("attributes.l", "x", pax={f"{XATTR}trusted.link": "l"}),
    Entry("attributes.c", "c", device=(1, 5), pax={f"{XATTR}security.selinux": "null"}),
    file(
        "capable",
        mode=0o4755,
        uid=4294967294,
        gid=4294967294,
        pax={f"{XATTR}security.capability": CAPABILITY.decode("latin-1")},
    ),
    # Files of several names: what one of them says holds for all, in any order of directories.
    *(directory(name) for name in ("a", "z", "a/b")),
    file("z/first", b"linked", uid=11, gid=12, mode=0o2755, mtime=MTIME - 3),
    hard_link("a/b/second", "z/first"),
    hard_link("a/third", "z/first"),
    hard_link("zz", "z/first"),
    symlink("a/soft", "to", uid=13),
    hard_link("z/soft", "a/soft"),
    file("a/partly", b"1", uid=14),
    hard_link("z/partly", "a/partly"),
    directory("gone"),
    file("gone/file", uid=15),
    directory("opaque", uid=16),
    file("opaque/below", uid=16),
    file("becomes-a-directory", uid=17),
    directory("becomes-a-file"),
    file("becomes-a-file/x"),
    file(f"newline{ODD}", b"is possible where nothing must be said"),
    directory("ch", mode=0o700, uid=18),
    file("ch/environment", b"OLD=1\n", uid=18),
    directory("vol"),
)
OVER = (
    file(".wh.gone", b""),
    file("z/partly", b"2"),
    directory("opaque", mode=0o711),
    file("opaque/.wh..wh..opq", b""),
    file("opaque/above"),
    file(".wh.becomes-a-directory", b""),
    directory("becomes-a-directory"),
    file("becomes-a-file", b"a file", gid=19),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place with a hostile image, and with a mksquashfs that notes its options."""
    place = Place(tmp_path_factory.mktemp("mounted"))
    program(place, NOTING)
    add(place, "hostile", HOSTILE, OVER)
    return place


def program(place: Place, text: str) -> None:
    path = place.path / "bin/mksquashfs"
    path.write_text(text)
    path.chmod(0o755)


def add(place: Place, name: str, *trees: tuple[Entry, ...]) -> None:
    """Put an image of these layers into storage, with the uppermost one as its last."""
    made = place.path / name
    made.mkdir()
    place.run("-q", "-i", "oci-dir", str(make_layout(made, trees)), name)
    shutil.rmtree(made)


def squash(place: Place, *words: str, **env: str) -> tuple[Path, bool]:
    """Convert; return the file, and whether mksquashfs has read the mounted layers."""
    *source, target = words
    (place.path / "options").unlink(missing_ok=True)
    place.run("-q", *source, f"./{target}", check=True, **env)
    options = (place.path / "options").read_text().splitlines()
    assert ("-tar" in options) != ("-pf" in options)
    assert place.left() == []
    return place.path / target, "-pf" in options


def listed(path: Path) -> list[list[str]]:
    """Return what unsquashfs lists; the sizes of directories depend on where they are stored."""
    out = subprocess.run(["unsquashfs", "-lln", path], capture_output=True, check=True).stdout
    lines = [line.split(" ") for line in out.decode("latin-1").split("\n")]
    return [
        [word for word in line if not line[0].startswith("d") or not word.isdecimal()]
        for line in lines
    ]


def by_us(place: Place, path: Path) -> bytes:
    """Return a tar of what our own reader finds in a file."""
    place.run("-q", f"./{path.name}", "./read.tar")
    return (place.path / "read.tar").read_bytes()


def same(place: Place, one: Path, two: Path) -> Found:
    """Compare two files as three readers see them; return what is in them."""
    assert listed(one) == listed(two)
    tars = in_squash(one), in_squash(two)
    found = in_tar(tars[0])
    assert found == in_tar(tars[1])
    links = [sorted(map(sorted, links_in_tar(tar))) for tar in tars]
    assert links[0] == links[1]
    assert by_us(place, one) == by_us(place, two)
    return found


def test_both_ways_give_the_same(place: Place) -> None:
    one, is_mounted = squash(place, "hostile", "one.sqfs")
    two, is_mounted_too = squash(place, "hostile", "two.sqfs", CH_IMAGE_DRIVER="copy")
    assert (is_mounted, is_mounted_too) == (True, False)
    found = same(place, one, two)
    for name in NAMES:
        path = b"owned/" + name.encode("latin-1")
        assert found[path][:6] == ("f", 0o4750, 3, 4, (0, 0), name.encode())
        assert found[path + b".d/link"][:3] == ("l", 0o777, 7)
        assert found[path + b".c"][:5] == ("c", 0o600, 8, 0, (1, 3))
    for linked in (b"z/first", b"a/b/second", b"a/third", b"zz"):
        assert found[linked][1:7] == (0o2755, 11, 12, (0, 0), b"linked", MTIME - 3)
    assert {"./z/first", "./a/b/second", "./a/third", "./zz"} in links_in_tar(in_squash(one))
    assert dict(found[b""][7]) == {"user.root": b"r"}  # type: ignore[call-overload]
    assert found[b"a/partly"][2:6] == (14, 0, (0, 0), b"1")
    assert found[b"z/partly"][2:6] == (0, 0, (0, 0), b"2")
    assert not {b"gone", b"gone/file", b"opaque/below", b"becomes-a-file/x"} & set(found)
    assert found[b"opaque"][:2] == ("d", 0o711)
    assert found[b""][:4] == ("d", 0o1751, 0, 0)
    assert found[b"ch"][:3] == ("d", 0o700, 18)
    assert found[b"ch/environment"][2:6] == (0, 0, (0, 0), b"A=b\nPATH=/bin\n")
    attributes = dict(found[b"attributes"][7])  # type: ignore[call-overload]
    assert attributes["user.long"] == b"x" * 20_000
    assert attributes["trusted.thing"] == b"yes"


def test_the_program_works_outside_of_the_image(place: Place) -> None:
    """With an empty word in LD_LIBRARY_PATH, its libraries come from its working directory."""
    squash(place, "hostile", "where.sqfs")
    assert (place.path / "directory").read_text() == "/\n"


@pytest.mark.parametrize("epoch", ["", "1500000000", str(MTIME - 4), "99999999999"])
def test_same_bytes_twice(place: Place, epoch: str) -> None:
    one, is_mounted = squash(place, "hostile", "again.1.sqfs", SOURCE_DATE_EPOCH=epoch)
    two, _ = squash(place, "hostile", "again.2.sqfs", SOURCE_DATE_EPOCH=epoch)
    assert is_mounted
    assert one.read_bytes() == two.read_bytes()
    tar, _ = squash(
        place, "hostile", "again.3.sqfs", SOURCE_DATE_EPOCH=epoch, CH_IMAGE_DRIVER="copy"
    )
    limit = min(int(epoch or MTIME), MTIME)
    times = [value[6] for value in same(place, one, tar).values()]
    assert limit in times
    assert all(isinstance(seconds, int) and seconds <= limit for seconds in times)


def test_attributes_can_be_dropped(place: Place) -> None:
    path, is_mounted = squash(place, "--no-xattrs", "hostile", "plain.sqfs")
    assert is_mounted
    assert not any(value[7] for value in in_tar(in_squash(path)).values())


NULL = (1, 3)
INEXPRESSIBLE = {
    "newline": (file(f"owned{ODD}", uid=1),),
    "newline-device": (Entry(f"{ODD}", "c", device=NULL),),
    "root": (directory("./", uid=1), file("x")),
    "linked-device": (Entry("x", "c", device=NULL), hard_link("y", "x")),
    "devices": tuple(Entry(f"{number}", "c", device=NULL) for number in range(1001)),
    "late": (directory("x", mtime=1 << 32),),
    "long": (file("/".join(["deep" * 50] * 20), uid=1),),
    "attribute-of-link": (symlink("x", "y", pax={f"{XATTR}user.x": "y"}),),
    "attribute-name": (file("x", pax={f"{XATTR}trusted.x y": "y"}),),
    "linked-replaced": (directory("ch"), file("other"), hard_link("ch/environment", "other")),
}


@pytest.mark.parametrize("name", INEXPRESSIBLE)
def test_what_mksquashfs_cannot_be_told_goes_by_a_tar(place: Place, name: str) -> None:
    add(place, name, INEXPRESSIBLE[name])
    one, is_mounted = squash(place, name, f"{name}.1.sqfs")
    assert not is_mounted
    two, _ = squash(place, name, f"{name}.2.sqfs", CH_IMAGE_DRIVER="copy")
    assert one.read_bytes() == two.read_bytes()
    place.run("-q", f"./{name}.1.sqfs", "./read.tar")


def test_holes_are_not_read(place: Place) -> None:
    """mksquashfs would read all zeros of a file like /var/log/lastlog."""
    image = place.path / "holes"
    image.mkdir()
    with (image / "lastlog").open("wb") as file_:
        file_.truncate(2 << 30)
    run_program([*command("ch-image"), "-q", "import", image, "holes"], env=place.environment)
    path, is_mounted = squash(place, "holes", "holes.sqfs")
    assert not is_mounted
    assert path.stat().st_size < 1 << 20
    with (image / "lastlog").open("wb") as file_:
        file_.truncate(2 << 20)
    run_program([*command("ch-image"), "-q", "import", image, "holes"], env=place.environment)
    assert squash(place, "holes", "holes.sqfs")[1]


def test_an_overlay_that_cannot_be_mounted(place: Place) -> None:
    (place.path / "options").unlink()
    done = subprocess.run(
        [
            *("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=mount"),
            *("-e", "inject=mount:error=EPERM:when=2"),
            *(*command("ch-convert"), "-q", "hostile", "./refused.sqfs"),
        ],
        cwd=place.path,
        env=os.environ | place.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "-tar" in (place.path / "options").read_text().splitlines()


def test_a_store_that_cannot_be_written(place: Place) -> None:
    """Nobody knows whether overlays work there, and nothing can be tried."""
    for note in (place.storage / "probe").iterdir():
        note.unlink()
    closed = [place.storage / name for name in ("probe", "tmp")]
    for path in closed:
        path.chmod(0o500)
    try:
        _, is_mounted = squash(place, "hostile", "closed.sqfs")
    finally:
        for path in closed:
            path.chmod(0o700)
    assert not is_mounted
    assert squash(place, "hostile", "open.sqfs")[1]


def test_an_image_of_one_layer_and_of_none(place: Place) -> None:
    for name, trees in (("one", (HOSTILE,)), ("none", ())):
        add(place, name, *trees)
        one, is_mounted = squash(place, name, f"{name}.1.sqfs")
        assert is_mounted
        two, _ = squash(place, name, f"{name}.2.sqfs", CH_IMAGE_DRIVER="copy")
        found = same(place, one, two)
        assert found[b"ch/environment"][5] == b"A=b\nPATH=/bin\n"


def test_an_image_in_an_archive(place: Place) -> None:
    place.run("-q", "hostile", "./hostile.oci.tar")
    one, is_mounted = squash(place, "./hostile.oci.tar", "archive.sqfs")
    assert is_mounted
    two, _ = squash(place, "hostile", "stored.sqfs")
    assert in_tar(in_squash(one)) == in_tar(in_squash(two))


def test_set_id_bits_of_unknown_owners_are_dropped(place: Place, busybox_tar: Path) -> None:
    env = place.environment
    (place.path / "context").mkdir()
    (place.path / "context/Dockerfile").write_text(
        "FROM busybox\nRUN mkdir /d && echo x >/d/f && chmod 4755 /d/f && ln /d/f /g\n"
    )
    image = command("ch-image")
    run_program([*image, "-q", "import", busybox_tar, "busybox"], env=env)
    run_program([*image, "-q", "build", "-t", "set-id", place.path / "context"], env=env)
    said, found = [], []
    for target, driver in (("set-id.1.sqfs", "overlay"), ("set-id.2.sqfs", "copy")):
        said.append(place.run("set-id", f"./{target}", CH_IMAGE_DRIVER=driver).stderr.splitlines())
        found.append(in_tar(in_squash(place.path / target)))
    assert said[0][2:] == said[1][2:]
    assert said[0].count("warning: set-id bits dropped, owner unknown: /d/f") == 1
    assert sum("--force=notify" in line for line in said[0]) == 1
    assert found[0] == found[1]
    assert [found[0][path][1] for path in (b"d/f", b"g")] == [0o755] * 2


def has_ended(pid: int) -> bool:
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_program_ends_with_the_conversion(place: Place, number: signal.Signals) -> None:
    (place.path / "pid").unlink(missing_ok=True)
    (place.path / "kept.sqfs").write_bytes(b"old")
    program(place, HANGING)
    try:
        process = subprocess.Popen(
            [*command("ch-convert"), "-q", "hostile", "./kept.sqfs"],
            cwd=place.path,
            env=os.environ | place.environment,
        )
        until(lambda: (place.path / "pid").exists() or process.poll() is not None)
        process.send_signal(number)
        assert process.wait(60) == -number
        pid = int((place.path / "pid").read_text())
        until(lambda: has_ended(pid))
    finally:
        program(place, NOTING)
    assert (place.path / "kept.sqfs").read_bytes() == b"old"
    if number == signal.SIGKILL:
        for path in place.path.glob("*.part"):
            path.unlink()
    assert place.left() == []
