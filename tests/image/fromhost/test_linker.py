"""The linker's symlinks and cache are those that the image's own ``ldconfig`` makes."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from sundog.errors import SundogError
from sundog.image.fromhost import linker as module
from sundog.image.fromhost.linker import Linker
from sundog.image.fromhost.tree import Tree
from sundog.runtime.linker.cache import HWCAPS_LIMIT
from tests.conftest import command, run_program
from tests.runtime.linker.elf import elf

from .conftest import LONG_NAME, NAME, Host, Image, cache_lines

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LDCONFIG = "/sbin/ldconfig"
PARTS = ("./etc", "./lib", "./lib64", "./sbin", "./usr/lib", "./usr/lib64", "./usr/local")

# Directories of the image: names of libraries with the soname libodd.so.1, or symlinks.
ODD: Mapping[str, Mapping[str, str]] = {
    "a": {"libodd.so.1.9": "", "libodd.so.1.10": "", "libodd.so.1": "libodd.so.1.9"},
    "b": {"libodd.so": "libodd.so.1", "libodd.so.1": "libodd.so.1.2", "libodd.so.1.2": ""},
    "c": {"libodd.so": "", "libother.so": "libodd.so"},
    "d": {"libodd.so.1": "nowhere", "libodd-3.so": ""},
    "e": {"libodd.so.1.2": "../a/libodd.so.1.9", "liblost.so.1": "/nowhere"},
    "f": {"ld-odd.so": "", "ld64.so.2": "", "ldx.so": "", "odd.so.1": "", "libodd": ""},
    "g": {"libodd.so.2.dpkg-new": "", "libodd.so.2.dpkg-tmp": "", "libodd.so;68": ""},
    "h": {"libodd.so.2.#prelink#": "", "libodd.so.2.#prelink#.AbCdEf": "", "libodd.so~": ""},
    "i": {"glibc-hwcaps/x86-64-v2/libodd.so.1.2": "", "libodd.so.1": ""},
    "j": {"glibc-hwcaps/zz/libodd.so.1": "libodd.so.1.3", "glibc-hwcaps/zz/libodd.so.1.3": ""},
    "k": {"glibc-hwcaps/x86-64-v2/libodd.so": "libodd.so.1", "libodd.so.1.1": ""},
    "with blanks": {"libodd.so.1": ""},
}


def linker_of(root: Path) -> Linker:
    return Linker(Tree(os.open(root, os.O_RDONLY | os.O_DIRECTORY)), lambda _line: None)


def symlinks(root: Path) -> dict[str, str]:
    found = {}
    for directory, directories, names in os.walk(root):
        for name in (*directories, *names):
            path = os.path.join(directory, name)
            if os.path.islink(path):
                found[os.path.relpath(path, root)] = os.readlink(path)
    return found


def unpack(tarball: Path, root: Path) -> None:
    """Unpack what ``ldconfig`` looks at, and itself."""
    with tarfile.open(tarball) as archive:
        there = set(archive.getnames())
    root.mkdir()
    wanted = there.intersection([*PARTS, "./usr/sbin/ldconfig"])
    run_program(["tar", "-C", root, "-xf", tarball, *sorted(wanted)])


def fill(root: Path, host: Host) -> None:
    """Give an image odd libraries, and a configuration that names them."""
    library = elf("libodd.so.1")
    for directory, names in ODD.items():
        for name, target in names.items():
            place = root / "opt" / directory / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if target:
                place.symlink_to(target)
            else:
                place.write_bytes(library)
    for name, content in (
        ("libtext.so", b"/* GNU ld script */ INPUT(libodd.so.1)\n" * 9),
        ("libempty.so", b""),
        ("libprogram.so", (root / "usr/sbin/ldconfig").read_bytes()),
        ("libforeign.so.1", elf("libforeign.so.1", machine=8)),
        (NAME, b"no library, and no symlink"),
    ):
        (root / "opt/a" / name).write_bytes(content)
    (root / "opt/a/libdirectory.so.1").mkdir()
    os.mkfifo(root / "opt/a/libfifo.so.1")
    cc = ["gcc", "-m32", "-nostdlib", "-shared", "-fPIC", "-Wl,-soname,libodd.so.1", "-o"]
    for name in ("l/libodd.so.1", "m/libodd.so.1.4"):
        (root / "opt" / name).parent.mkdir(exist_ok=True)
        run_program([*cc, root / "opt" / name, host.path / "lib.c"])
    lines = ["# a comment", "/opt/b/", " /opt/a # more", "include ../more/*.conf", "/opt/nope"]
    (root / "etc/ld.so.conf.d/zz.conf").write_text(
        "\n".join([*lines, "/opt/l", "/opt/m", "/opt/a"])
    )
    (root / "etc/more").mkdir()
    (root / "etc/more/one.conf").write_text("".join(f"/opt/{name}\n" for name in ODD))
    (root / "etc/more/.two.conf").write_text("/opt/hidden\n")
    (root / "opt/hidden").mkdir()
    (root / "opt/hidden/libodd.so.5").write_bytes(library)


@pytest.mark.parametrize("base", ["debian_tar", "rpm_tar"])
def test_like_the_image_s_own_ldconfig(
    base: str, host: Host, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root = tmp_path / "image"
    unpack(request.getfixturevalue(base), root)
    for name in ("dev", "proc", "sys", "tmp"):
        (root / name).mkdir()
    fill(root, host)
    # Injected files count as if they were there: also those in place of a symlink.
    injected = [f"usr/local/lib/{LONG_NAME}", "opt/e/libodd.so.1.2", f"opt/a/{LONG_NAME}"]
    linker = linker_of(root)
    changes = linker.changes({os.fsencode(path): bytes(host.library) for path in injected})
    made = {os.fsdecode(each.path): os.fsdecode(each.target) for each in changes if each.target}
    (text,) = (each.text for each in changes if each.text)
    (tmp_path / "cache").write_bytes(text)

    for path in injected:
        (root / path).unlink(missing_ok=True)
        (root / path).write_bytes(host.library.read_bytes())
    before = symlinks(root)
    run_program([*command("ch-run"), "-w", root, "--", LDCONFIG])
    after = symlinks(root)
    assert made == {path: target for path, target in after.items() if before.get(path) != target}
    assert {"opt/a/libodd.so.1", f"usr/local/lib/{NAME}", "opt/d/libodd.so.1"} <= made.keys()
    # ldconfig also removes symlinks that lead nowhere.
    assert before.keys() - after.keys() == {"opt/e/liblost.so.1"}
    assert cache_lines(tmp_path / "cache") == cache_lines(root / "etc/ld.so.cache")
    said = run_program([*command("ch-run"), root, "--", LDCONFIG, "-NXv"]).stdout
    searched = re.findall(r"^(/(?!.*/glibc-hwcaps/).*?): ", said, re.MULTILINE)
    assert [os.fsdecode(each) for each in linker.directories()] == searched


def test_musl(host: Host, alpine_tar: Path, tmp_path: Path) -> None:
    """musl's linker has no cache, and looks for the soname in its directories."""
    image = Image(tmp_path / "image")
    image.path.mkdir()
    run_program(
        ["tar", "-C", image.path, "--exclude=./dev/*", "--exclude=dev/*", "-xf", alpine_tar]
    )
    assert image.inject("--print-lib").stdout == "/lib\n"
    image.inject("-p", host.library)
    assert (image.path / "lib" / LONG_NAME).read_bytes() == host.library.read_bytes()
    assert os.readlink(image.path / "lib" / NAME) == LONG_NAME
    assert not (image.path / "etc/ld.so.cache").exists()
    (linker,) = (image.path / "lib").glob("ld-musl-*.so.1")
    (image.path / f"etc/{linker.name.removesuffix('.so.1')}.path").write_text("/opt:/usr/lib\n")
    assert image.inject("--print-lib").stdout == "/opt\n"


def refusal(root: Path) -> str:
    with pytest.raises(SundogError) as caught:
        linker_of(root).changes({})
    assert caught.value.hint
    return caught.value.message


def test_an_image_without_a_linker(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    assert refusal(tmp_path) == "the image has no dynamic linker"


@pytest.mark.parametrize(
    "configuration",
    [b"/opt\n" * 20_000, b"/o\n" * 5000, b"include /etc/*/x.conf", b"include many/*"],
    ids=["a long file", "directories", "a pattern of directories", "files"],
)
def test_a_configuration_beyond_the_bounds(image: Image, configuration: bytes) -> None:
    """Nothing of it is left out in silence."""
    (image.path / "etc/ld.so.conf").write_bytes(configuration)
    (image.path / "etc/many").mkdir()
    for number in range(300):
        (image.path / "etc/many" / str(number)).touch()
    assert refusal(image.path).startswith("/etc/ld.so.conf of the image is too large")


def test_libraries_beyond_the_bounds(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(HWCAPS_LIMIT + 1):
        (image.path / f"usr/local/lib/glibc-hwcaps/{number}").mkdir(parents=True)
    assert refusal(image.path).startswith("too many directories in /usr/local/lib/glibc-hwcaps")
    subprocess.run(["rm", "-r", image.path / "usr/local/lib/glibc-hwcaps"], check=True)
    for limit, message in (
        ("LIBRARIES_LIMIT", "more than 2 libraries in the image"),
        ("ENTRIES_LIMIT", "too many files in "),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, limit, 2)
            assert refusal(image.path).startswith(message)


def test_an_image_of_an_unknown_machine(image: Image) -> None:
    for path in (image.path / "lib").rglob("*.so*"):
        path.write_bytes(elf("libx.so", machine=8))
    for path in (image.path / "lib64").rglob("*.so*"):
        path.write_bytes(elf("libx.so", machine=8))
    assert refusal(image.path) == "no library of a known machine in the image"


@pytest.mark.parametrize("soname", ["..", ".", "libx.so." + "1" * 255])
def test_a_soname_that_can_be_no_symlink(image: Image, soname: str) -> None:
    (image.path / "usr/local/lib/libx.so.1").write_bytes(elf(soname))
    changes = linker_of(image.path).changes({})
    assert b"usr/local/lib" not in {os.path.dirname(each.path) for each in changes if each.target}
    assert [each.path for each in changes if each.text] == [b"etc/ld.so.cache"]


def test_etc_is_a_symlink(image: Image) -> None:
    (image.path / "etc").rename(image.path / "usr/etc")
    (image.path / "etc").symlink_to("usr/etc")
    changes = linker_of(image.path).changes({})
    assert [each.path for each in changes if each.text] == [b"usr/etc/ld.so.cache"]


def test_each_look_has_its_bound(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking again does not use up what the first look has left."""
    linker = linker_of(image.path)
    monkeypatch.setattr(module, "LIBRARIES_LIMIT", len(linker.libraries()) + 64)
    again = linker_of(image.path)
    for _ in range(4):
        assert again.libraries() == linker.libraries()
        again.changes({})
