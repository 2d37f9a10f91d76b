"""Hostile trees: names and links that lead elsewhere."""

from __future__ import annotations

import os

from tests.hostile.cases import CANARY, Case, named, pax, raw, sized, tar
from tests.image.layer.archives import Entry, directory, file, hard_link, symlink

UP = "../" * 40


def has_few_names(tree: bytes) -> None:
    assert sorted(os.listdir(tree)) == [b"etc", b"one"]


PATHS = [
    Case("dot dot", tar(file(UP + "CANARY/escaped")), '".." in it'),
    Case("dot dot inside", tar(directory("a"), file("a/../../escaped")), '".." in it'),
    Case("dot dot at the end", tar(directory("a/..")), '".." in it'),
    Case("dot dot alone", tar(directory("..")), '".." in it'),
    Case("absolute", tar(file("/etc/escaped")), holds={"etc/escaped": b"x\n"}),
    Case("many slashes", tar(file("////etc//escaped")), holds={"etc/escaped": b"x\n"}),
    Case("no name", raw(named(b"")), "the root is not a directory"),
    Case("a slash as a file", raw(named(b"/", size=sized(1)), b"x"), "the root is not a directory"),
    Case("a dot as a file", raw(named(b".", size=sized(1)), b"x"), "the root is not a directory"),
    Case("the root is a symlink", tar(symlink("./", CANARY)), "the root is not a directory"),
    Case("the root is a FIFO", tar(Entry(".", "p")), "the root is not a directory"),
    Case(
        "the root is a device", tar(Entry(".", "c", device=(1, 3))), "the root is not a directory"
    ),
    Case("the root is a hard link", tar(hard_link(".", "etc")), "the root is not a directory"),
    Case("NUL in a pax path", raw(pax((b"path", b"a\0b")), named(b"f")), "a NUL in it"),
    Case("4,000 directories", tar(file("d/" * 4000 + "f")), "more than 4094 bytes (PATH_MAX)"),
    Case("a component of 256 bytes", tar(file("n" * 256)), "file name too long"),
    Case(
        "a long path by a short name",
        tar(
            directory(("d" * 249 + "/") * 16),
            symlink("l", ("d" * 249 + "/") * 16),
            file("l/" + "f" * 99),
        ),
        "more than 4094 bytes (PATH_MAX)",
    ),
    Case("a backslash", tar(file("..\\..\\f")), holds={"..\\..\\f": b"x\n"}),
    Case("a drive", tar(file("C:\\f")), holds={"C:\\f": b"x\n"}),
    Case("a newline", tar(file("a\nerror: b"), file("a\nerror: b/c")), "is not a directory"),
    Case("an escape sequence", tar(file("\x1b[2J"), file("\x1b[2J/c")), "is not a directory"),
    Case("bytes that are no text", tar(file(b"\xff\xfe"), file(b"\xff\xfe/c")), "not a directory"),
    Case(
        "a right-to-left override", tar(file("\u202e".encode()), file("\u202e/c".encode())), "not a"
    ),
    Case("a percent and a brace", tar(file("%s{0}"), file("%s{0}/c")), "is not a directory"),
    Case("a slash behind a file", raw(named(b"f/", size=sized(1)), b"x"), holds={"f": b"x"}),
    Case("a file as a parent", tar(file("f"), file("f/in")), "f is not a directory"),
    Case("a FIFO as a parent", tar(Entry("p", "p"), file("p/in")), "p is not a directory"),
    Case(
        "a device as a parent", tar(Entry("c", "c", device=(1, 3)), file("c/in")), "not a directory"
    ),
    Case(
        "one name 300 times", tar(*[file("one")] * 300), holds={"one": b"x\n"}, check=has_few_names
    ),
    Case(
        "every type under one name",
        tar(*(Entry("one", kind, link="etc/motd") for kind in "fdlpcbh" * 3)),
        holds={"one": b"hello\n"},
        check=has_few_names,
    ),
]

LINKS = [
    Case(
        "through a symlink out",
        tar(symlink("s", CANARY), file("s/precious")),
        holds={"s": f"-> {CANARY}"},
    ),
    Case(
        "through dots out",
        tar(symlink("s", UP + "CANARY"), file("s/f")),
        holds={"CANARY/f": b"x\n"},
    ),
    Case(
        "below a symlink out",
        tar(symlink("s", "/OUT"), directory("s/d"), file("s/d/f")),
        holds={"OUT/d/f": b"x\n"},
    ),
    Case(
        "a directory becomes a symlink out",
        tar(directory("d"), file("d/f"), symlink("d", "/OUT"), file("d/f")),
        holds={"OUT/f": b"x\n", "d": "-> /OUT"},
    ),
    Case(
        "a symlink becomes a directory",
        tar(symlink("d", CANARY), directory("d"), file("d/f")),
        holds={"d/f": b"x\n"},
    ),
    Case(
        "a symlink is not written through",
        tar(symlink("f", f"{CANARY}/precious"), file("f")),
        holds={"f": b"x\n"},
    ),
    Case(
        "a symlink changes on the way",
        tar(symlink("s", "etc"), file("s/1"), symlink("s", "/OUT"), file("s/2")),
        holds={"etc/1": b"x\n", "OUT/2": b"x\n"},
    ),
    Case(
        "a symlink to /proc/self/root",
        tar(symlink("s", "/proc/self/root"), file("s/f")),
        holds={"proc/self/root/f": b"x\n"},
    ),
    Case(
        "a symlink to /proc/self/fd/3",
        tar(symlink("s", "/proc/self/fd/3"), file("s/f")),
        holds={"proc/self/fd/3/f": b"x\n"},
    ),
    Case("a symlink to dot dot", tar(symlink("s", ".."), file("s/f")), holds={"f": b"x\n"}),
    Case("a symlink to itself", tar(symlink("s", "s"), file("s/f")), "too many symbolic links"),
    Case("a loop of symlinks", tar(symlink("a", "b"), symlink("b", "a"), file("a/f")), "too many"),
    Case(
        "41 symlinks in a row",
        tar(*(symlink(f"s{n}", f"s{n + 1}") for n in range(41)), file("s0/f")),
        "too many symbolic links",
    ),
    Case(
        "symlinks that double",
        tar(
            symlink("a0", "etc"),
            *(symlink(f"a{n}", f"a{n - 1}/../a{n - 1}") for n in range(1, 30)),
            file("a29/f"),
        ),
        "too many symbolic links",
    ),
    Case("a symlink to nothing", raw(named(b"s", typeflag=b"2")), "without a proper target"),
    Case(
        "NUL in a symlink's target",
        raw(pax((b"linkpath", b"a\0b")), named(b"s", typeflag=b"2")),
        "without a proper target",
    ),
    Case("a target beyond PATH_MAX", tar(symlink("s", "t" * 4200)), "file name too long"),
    Case(
        "a dangling symlink",
        tar(symlink("s", "/nowhere/at/all")),
        holds={"s": "-> /nowhere/at/all"},
    ),
    Case("a hard link out", tar(hard_link("h", f"{CANARY}/precious")), "is not there"),
    Case("a hard link by dots", tar(hard_link("h", UP + "CANARY/precious")), '".." in it'),
    Case(
        "a hard link through a symlink out",
        tar(symlink("s", CANARY), hard_link("h", "s/precious")),
        "is not there",
    ),
    Case("a hard link to nothing", tar(hard_link("h", "etc/nothing")), "which is not there"),
    Case("a hard link to a later file", tar(hard_link("h", "later"), file("later")), "not there"),
    Case("a hard link to a directory", tar(hard_link("h", "etc")), "a directory or below the link"),
    Case("a hard link to the root", tar(hard_link("h", "/")), "a directory or below the link"),
    Case("a hard link to itself", tar(hard_link("h", "h")), "which is not there"),
    Case("a hard link to itself, there", tar(file("h"), hard_link("h", "h")), holds={"h": b"x\n"}),
    Case(
        "a hard link over its target's directory",
        tar(file("d/f"), hard_link("d", "d/f")),
        "a directory or below the link",
    ),
    Case(
        "a hard link to a symlink out",
        tar(symlink("s", f"{CANARY}/precious"), hard_link("h", "s"), file("h")),
        holds={"h": b"x\n", "s": f"-> {CANARY}/precious"},
    ),
    Case(
        "a chain of 500 hard links",
        tar(file("h0"), *(hard_link(f"h{n + 1}", f"h{n}") for n in range(500))),
        holds={"h500": b"x\n"},
    ),
    Case(
        "NUL in a hard link's target",
        raw(pax((b"linkpath", b"etc\0/motd")), named(b"h", typeflag=b"1")),
        "a NUL in it",
    ),
    Case(
        "a hard link without a target",
        raw(named(b"h", typeflag=b"1")),
        "a directory or below the link",
    ),
]

NAMES = [*PATHS, *LINKS]
