"""Hostile trees: invalid whiteouts, types, attributes and numbers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.hostile.cases import CANARY, Case, base_256, named, pax, raw, sized, tar
from tests.image.layer.archives import Entry, directory, file, hard_link, symlink

if TYPE_CHECKING:
    from collections.abc import Callable


def has_mode(path: str, mode: int) -> Callable[[bytes], None]:
    def check(tree: bytes) -> None:
        assert os.lstat(tree + b"/" + path.encode()).st_mode & 0o7777 == mode

    return check


def has_no_xattrs(tree: bytes) -> None:
    for path in (b"/etc", b"/f", b"/d", b""):
        if os.path.lexists(tree + path):
            assert [n for n in os.listxattr(tree + path) if "overlay" in n] == []


WHITEOUTS = [
    Case("a whiteout of no name", tar(file("etc/.wh.")), "a whiteout without a name"),
    Case("a whiteout of a dot", tar(file("etc/.wh..")), "a whiteout without a name"),
    Case("a whiteout of dot dot", tar(file("etc/.wh...")), "a whiteout without a name"),
    Case("below a whiteout", tar(file(".wh.d/f")), "a whiteout is not a directory"),
    Case(
        "a whiteout that is a directory", tar(directory(".wh.d/")), holds={".wh.d": None, "d": None}
    ),
    Case("a whiteout that is a symlink", tar(symlink(".wh.s", CANARY)), holds={".wh.s": None}),
    Case(
        "a whiteout that is a hard link", tar(hard_link(".wh.h", "/nothing")), holds={".wh.h": None}
    ),
    Case(
        "a whiteout with data", tar(file(".wh.f", b"data" * 1000), file("g")), holds={"g": b"x\n"}
    ),
    Case("a whiteout through a symlink", tar(symlink("s", CANARY), file("s/.wh.precious"))),
    Case("opaque through a symlink", tar(symlink("s", CANARY), file("s/.wh..wh..opq"))),
    Case(
        "an opaque directory as a directory",
        tar(directory("etc/.wh..wh..opq")),
        holds={"etc/motd": b"hello\n"},
    ),
    Case("below an opaque mark", tar(file("etc/.wh..wh..opq/f")), holds={"etc/motd": b"hello\n"}),
    Case(
        "AUFS's links",
        tar(file(".wh..wh.plnk/1.2"), hard_link("h", ".wh..wh.plnk/1.2")),
        "not there",
    ),
    Case(
        "AUFS's own",
        tar(file(".wh..wh.aufs"), file(".wh..wh.orph/f")),
        holds={".wh..wh.aufs": None},
    ),
    Case("a whiteout of a whiteout", tar(file(".wh..wh.f")), holds={".wh.f": None}),
    Case("a whiteout of the same layer", tar(file("f"), file(".wh.f")), holds={"f": b"x\n"}),
    Case("a hard link to a whiteout", tar(file(".wh.f"), hard_link("h", ".wh.f")), "not there"),
    Case("a whiteout below a file", tar(file("f"), file("f/.wh.g")), "f is not a directory"),
    Case("a whiteout's name too long", tar(file(".wh." + "n" * 300)), "file name too long"),
]

TYPES = [
    Case("a block device", tar(Entry("sda", "b", device=(8, 0), mode=0o666)), holds={"sda": b""}),
    Case(
        "a character device", tar(Entry("mem", "c", device=(1, 1), mode=0o666)), holds={"mem": b""}
    ),
    Case("overlay's whiteout as a device", tar(Entry("w", "c", device=(0, 0))), holds={"w": b""}),
    Case(
        "a device that is a device's link",
        tar(Entry("m", "c", device=(1, 1)), hard_link("n", "m")),
        holds={"n": b""},
    ),
    Case(
        "a device number out of range",
        raw(named(b"c", typeflag=b"3", major=b"7777777\0")),
        "its device number is out of range",
    ),
    Case(
        "a negative device number",
        raw(named(b"c", typeflag=b"3", minor=base_256(-1, 8))),
        "its device number is out of range",
    ),
    Case("a FIFO", tar(Entry("p", "p")), holds={"p": "p"}),
    Case("a FIFO replaced by a file", tar(Entry("p", "p"), file("p")), holds={"p": b"x\n"}),
    Case(
        "an unknown type", raw(named(b"f", typeflag=b"Z")), "members of type 'Z' are not supported"
    ),
    Case("a type that is a control character", raw(named(b"f", typeflag=b"\x1b")), "not supported"),
    Case(
        "a further volume", raw(named(b"f", typeflag=b"M")), "members of type 'M' are not supported"
    ),
    Case("GNU's long names of old", raw(named(b"f", typeflag=b"N")), "type 'N' are not supported"),
    Case(
        "a directory with data",
        raw(named(b"d", typeflag=b"D", size=sized(5)), b"Yf\0\0\0", named(b"e")),
        holds={"d": "d", "e": b""},
    ),
    Case(
        "a symlink with data",
        raw(named(b"s", typeflag=b"2", size=sized(512), link=b"t"), named(b"e")),
        holds={"s": "-> t", "e": b""},
    ),
    Case(
        "set-user-ID",
        tar(file("su", mode=0o6755)),
        holds={"su": b"x\n"},
        check=has_mode("su", 0o6755),
    ),
    Case(
        "a mode of all bits",
        raw(named(b"f", mode=b"7777777\0")),
        holds={"f": b""},
        check=has_mode("f", 0o7777),
    ),
    Case(
        "a mode of no bits",
        tar(directory("d", mode=0), file("d/f", mode=0)),
        check=has_mode("d", 0),
    ),
    Case("a root of no bits", tar(directory("./", mode=0)), check=has_mode("", 0)),
]

ATTRIBUTES = [
    *(
        Case(
            f"the attribute {name}",
            tar(
                Entry("d", "d", pax={f"SCHILY.xattr.{name}": "y"}),
                file("f", pax={f"SCHILY.xattr.{name}": "y"}),
            ),
            holds={"f": b"x\n"},
            check=has_no_xattrs,
        )
        for name in (
            "user.overlay.opaque",
            "user.overlay.whiteout",
            "user.overlay.redirect",
            "user.overlay.metacopy",
            "user.overlay.origin",
            "trusted.overlay.opaque",
        )
    ),
    Case(
        "overlay's attribute on the root",
        tar(Entry("./", "d", pax={"SCHILY.xattr.user.overlay.opaque": "y"})),
        check=has_no_xattrs,
    ),
    Case(
        "overlay's attribute in libarchive's form",
        tar(file("f", pax={"LIBARCHIVE.xattr.user%2eoverlay%2eopaque": "eQ=="})),
        check=has_no_xattrs,
    ),
    Case(
        "damaged capabilities", tar(file("f", pax={"SCHILY.xattr.security.capability": "rubbish"}))
    ),
    Case("a label of SELinux", tar(file("f", pax={"SCHILY.xattr.security.selinux": "label"}))),
    Case("an integrity signature", tar(file("f", pax={"SCHILY.xattr.security.ima": "x"}))),
    Case(
        "an access control list of rubbish",
        tar(file("f", pax={"SCHILY.xattr.system.posix_acl_access": "rubbish"})),
    ),
    Case(
        "an attribute with a NUL",
        raw(pax((b"SCHILY.xattr.user.a\0b", b"v")), named(b"f")),
        holds={"f": b""},
    ),
    Case(
        "an attribute without a name",
        raw(pax((b"SCHILY.xattr.", b"v")), named(b"f")),
        holds={"f": b""},
    ),
    Case(
        "an attribute not in base64",
        tar(file("f", pax={"LIBARCHIVE.xattr.user.a": "@@@"})),
        "not in base64",
    ),
    Case("an attribute of 500 kB", tar(file("f", pax={"SCHILY.xattr.user.a": "v" * 500_000}))),
    Case(
        "an attribute with a long name", tar(file("f", pax={f"SCHILY.xattr.user.{'a' * 300}": "v"}))
    ),
    Case(
        "2,000 attributes",
        tar(file("f", pax={f"SCHILY.xattr.user.a{n}": "v" for n in range(2000)})),
    ),
    Case(
        "attributes of a symlink",
        tar(symlink("s", "t", pax={"SCHILY.xattr.user.a": "v"})),
        holds={"s": "-> t"},
    ),
    Case("an attribute of no namespace", tar(file("f", pax={"SCHILY.xattr.nonsense": "v"}))),
]

NUMBERS = [
    Case("a mode that is no number", raw(named(b"f", mode=b"rwxr-xr\0")), "not octal"),
    Case("a size that is no number", raw(named(b"f", size=b"12345678 9a\0")), "not octal"),
    Case("a size of eights and nines", raw(named(b"f", size=b"00000000089\0")), "not octal"),
    Case("an owner that is no number", raw(named(b"f", uid=b"root\0\0\0\0")), "not octal"),
    Case("a time that is no number", raw(named(b"f", mtime=b"yesterday\0\0\0")), "not octal"),
    Case("a signed octal number", raw(named(b"f", size=b"-0000000001\0")), "not octal"),
    Case("a negative size", raw(named(b"f", size=base_256(-1, 12))), "its size is out of range"),
    Case(
        "a size of 2^63", raw(named(b"f", size=base_256(1 << 63, 12))), "its size is out of range"
    ),
    Case("a size of 2^62", raw(named(b"f", size=base_256(1 << 62, 12))), "the archive ends early"),
    Case(
        "a size of 2^94", raw(named(b"f", size=base_256(1 << 94, 12))), "its size is out of range"
    ),
    Case(
        "a size that overflows with its padding",
        raw(named(b"f", size=base_256((1 << 63) - 1, 12))),
        "the archive ends early",
    ),
    Case("a negative owner", raw(named(b"f", uid=base_256(-1, 8))), "its owner is out of range"),
    Case(
        "an owner of 2^32", raw(named(b"f", uid=base_256(1 << 32, 8))), "its owner is out of range"
    ),
    Case("an owner of 21 digits", raw(pax((b"uid", b"1" * 21)), named(b"f")), "not a number"),
    Case("an owner in hexadecimal", raw(pax((b"gid", b"0x10")), named(b"f")), "not a number"),
    Case("an owner in other digits", raw(pax((b"gid", "٣".encode())), named(b"f")), "not a number"),
    Case(
        "a time of 10^19 seconds",
        raw(pax((b"mtime", b"1" + b"0" * 19)), named(b"f")),
        "its time is out of",
    ),
    Case(
        "a time of 30 digits",
        raw(pax((b"mtime", b"1" * 30)), named(b"f")),
        "a time is not a number",
    ),
    Case(
        "a time that is none", raw(pax((b"mtime", b"NaN")), named(b"f")), "a time is not a number"
    ),
    Case(
        "a time of minus infinity",
        raw(pax((b"mtime", b"-inf")), named(b"f")),
        "a time is not a number",
    ),
    Case("a time before 1901", raw(pax((b"mtime", b"-9999999999")), named(b"f")), holds={"f": b""}),
    Case("a time after 2446", raw(pax((b"mtime", b"99999999999")), named(b"f")), holds={"f": b""}),
    Case(
        "a time of the end of all time",
        raw(named(b"f", mtime=base_256(1 << 61, 12))),
        holds={"f": b""},
    ),
    Case(
        "a negative pax size", raw(pax((b"size", b"-5")), named(b"f")), "its size is out of range"
    ),
    Case(
        "a pax size beyond the end",
        raw(pax((b"size", b"99999")), named(b"f")),
        "the archive ends early",
    ),
    Case(
        "a pax size below the header's",
        raw(pax((b"size", b"512")), named(b"f", size=sized(1024)), b"x" * 1024),
        "after f: a number in a header is not octal",
    ),
    Case(
        "a size that takes the next header for data",
        raw(named(b"f", size=sized(512)), named(b"next")),
        holds={"next": None},
    ),
    Case(
        "a wrong checksum",
        raw(named(b"f", checksum=b"0000001\0")),
        "the checksum of a header is wrong",
    ),
    Case("a checksum that is none", raw(named(b"f", checksum=b"xxxxxxxx")), "not octal"),
    Case(
        "a negative checksum",
        raw(named(b"f", checksum=base_256(-5, 8))),
        "the checksum of a header is wrong",
    ),
]

MEMBERS = [*WHITEOUTS, *TYPES, *ATTRIBUTES, *NUMBERS]
