"""Hostile trees: ends of archives, extended headers, maps of holes, and floods of all of these."""

from __future__ import annotations

import os

from sundog.image.layer.limits import Limits
from tests.hostile.cases import Case, base_256, named, pax, raw, sized, tar
from tests.hostile.members import has_no_xattrs
from tests.image.layer.archives import directory, file, hard_link, pax_header, raw_header, symlink


def pax_of(data: bytes, claimed: int | None = None) -> bytes:
    """Return an extended header of exactly these bytes."""
    return (
        raw_header(b"pax", typeflag=b"x", size=sized(len(data) if claimed is None else claimed))
        + data
    )


def old_sparse(entries: bytes, real_size: bytes, size: int, extended: bytes = b"\0") -> bytes:
    block = bytearray(raw_header(b"sparse", typeflag=b"S", size=sized(size), magic=b"ustar  \0"))
    block[386:482] = entries.ljust(96, b"\0")
    block[482:483] = extended
    block[483:495] = real_size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def sparse_map(text: bytes, size: bytes, data: bytes = b"") -> bytes:
    return (
        pax((b"GNU.sparse.map", text), (b"GNU.sparse.size", size))
        + named(b"sparse", size=sized(len(data)))
        + data
    )


def sparse_1_0(
    text: bytes, real_size: bytes, name: bytes = b"sparse", major: bytes = b"1"
) -> bytes:
    records = (
        (b"GNU.sparse.major", major),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", name),
        (b"GNU.sparse.realsize", real_size),
    )
    data = text + bytes(-len(text) % 512)
    return pax(*records) + named(b"s", size=sized(len(data))) + data


def is_a_hole(tree: bytes) -> None:
    status = os.stat(tree + b"/sparse")
    assert (status.st_size, status.st_blocks < 64) == (1 << 40, True)


HARMLESS_TAR = tar()
ENDS = [
    Case("nothing", lambda: b"", "the archive is empty"),
    Case("less than a header", lambda: b"x" * 100, "this is not a tar archive"),
    Case("a text", lambda: b"hello\n" * 1000, "this is not a tar archive"),
    Case(
        "random bytes",
        lambda: bytes(n * n * 7 % 251 for n in range(4096)),
        "this is not a tar archive",
    ),
    Case("a zip file", lambda: b"PK\x03\x04" + bytes(1000), "this is not a tar archive"),
    Case("an ELF file", lambda: b"\x7fELF" + b"\1" * 1000, "this is not a tar archive"),
    Case("zeros", lambda: bytes(10240), holds={"etc": None}),
    Case("cut in a header", lambda: HARMLESS_TAR()[:700], "the archive ends early"),
    Case(
        "cut in data",
        raw(named(b"f", size=sized(5000)), b"x" * 1024, end=b""),
        "the archive ends early",
    ),
    Case("cut in padding", raw(named(b"f", size=sized(5)), end=b"12345"), "the archive ends early"),
    Case(
        "cut in an extended header",
        raw(pax_of(b"x" * 512, 5000), end=b""),
        "the archive ends early",
    ),
    Case(
        "cut after an extended header", raw(pax((b"path", b"f")), end=b""), "the archive ends early"
    ),
    Case("an extended header of nothing", raw(pax((b"path", b"f"))), "the archive ends early"),
    Case(
        "cut after a long name",
        raw(named(b"l", typeflag=b"L", size=sized(4)), b"name", end=b""),
        "ends early",
    ),
    Case(
        "cut in a map of holes",
        raw(old_sparse(b"", sized(5), 0, b"\1"), end=b""),
        "the archive ends early",
    ),
    Case("no end", raw(named(b"f"), end=b""), holds={"f": b""}),
    Case(
        "a block of zeros amid members", raw(named(b"f"), bytes(512), named(b"g")), holds={"g": b""}
    ),
    Case("members behind the end", raw(named(b"f"), bytes(1024), named(b"g")), holds={"g": None}),
    Case(
        "rubbish behind the end",
        raw(named(b"f"), end=bytes(1024) + b"rubbish" * 1000),
        holds={"f": b""},
    ),
]

LONG = b"n" * 300
EXTENDED = [
    Case(
        "a record of no length", raw(pax_of(b"0 a=b\n"), named(b"f")), "a record's length is wrong"
    ),
    Case(
        "a record that is too long",
        raw(pax_of(b"999 a=b\n"), named(b"f")),
        "a record's length is wrong",
    ),
    Case(
        "a record of negative length",
        raw(pax_of(b"-6 a=b\n"), named(b"f")),
        "a record's length is wrong",
    ),
    Case(
        "a record of 19 digits", raw(pax_of(b"1" * 19 + b" a=b\n"), named(b"f")), "length is wrong"
    ),
    Case(
        "a record without a length",
        raw(pax_of(b"path=name\n"), named(b"f")),
        "a record's length is wrong",
    ),
    Case(
        "a record without an end", raw(pax_of(b"6 a=bc"), named(b"f")), "a record's length is wrong"
    ),
    Case(
        "a record shorter than itself",
        raw(pax_of(b"2 a=b\n"), named(b"f")),
        "a record's length is wrong",
    ),
    Case(
        "a record without an equals sign",
        raw(pax_of(b"6 abc\n"), named(b"f")),
        "a record without a key",
    ),
    Case("a record without a key", raw(pax_of(b"6 =bc\n"), named(b"f")), "a record without a key"),
    Case("an empty record", raw(pax_of(b"3 \n"), named(b"f")), "a record without a key"),
    Case("an empty extended header", raw(pax_of(b""), named(b"f")), holds={"f": b""}),
    Case(
        "an extended header of 2 MiB",
        raw(pax((b"comment", b"c" * (2 << 20))), named(b"f")),
        "is too long",
    ),
    Case("an extended header that claims 8 GiB", raw(pax_of(b"x", (8 << 30) - 1)), "is too long"),
    Case(
        "an extended header of negative size",
        raw(raw_header(b"p", typeflag=b"x", size=base_256(-9, 12))),
        "is too long",
    ),
    Case(
        "extended headers without end",
        raw(*[pax((b"comment", b"c" * 9000))] * 120, named(b"f")),
        "too long",
    ),
    Case(
        "empty extended headers without end", raw(*[pax_of(b"")] * 2100, named(b"f")), "is too long"
    ),
    Case(
        "a long name of 2 GiB",
        raw(raw_header(b"l", typeflag=b"L", size=sized(2 << 30))),
        "is too long",
    ),
    Case(
        "a long target of 2 GiB",
        raw(raw_header(b"l", typeflag=b"K", size=sized(2 << 30))),
        "is too long",
    ),
    Case(
        "a volume's label of 2 GiB",
        raw(raw_header(b"l", typeflag=b"V", size=sized(2 << 30))),
        "is too long",
    ),
    Case(
        "a long name out",
        raw(named(b"l", typeflag=b"L", size=sized(9)), b"../../out", named(b"f")),
        '".."',
    ),
    Case(
        "a long name too long",
        raw(named(b"l", typeflag=b"L", size=sized(300)), LONG, named(b"f")),
        "file name too long",
    ),
    Case("a pax name out", raw(pax((b"path", b"../../out")), named(b"f")), '".." in it'),
    Case(
        "a pax target out",
        raw(pax((b"linkpath", b"../../etc/passwd")), named(b"h", typeflag=b"1")),
        '".."',
    ),
    Case("a prefix out", raw(named(b"f", prefix=b"../..")), '".." in it'),
    Case(
        "a star's prefix out",
        raw(raw_header(b"f", prefix=b"../out".ljust(163, b"\0") + b"tar\0")),
        '".."',
    ),
    Case("an empty pax name", raw(pax((b"path", b"")), named(b"f")), holds={"f": b""}),
    Case(
        "a character set that is none",
        raw(pax((b"hdrcharset", b"KLINGON")), named(b"f")),
        holds={"f": b""},
    ),
    Case(
        "an unknown key",
        raw(pax((b"SUN.devmajor", b"x"), (b"VENDOR.key", b"y")), named(b"f")),
        holds={"f": b""},
    ),
    Case(
        "101 global keys",
        raw(*(pax_header((b"k%d" % n, b"v"), typeflag=b"g") for n in range(101)), named(b"f")),
        "its global headers hold too much",
    ),
    Case(
        "global keys of 70 kB",
        raw(pax_header((b"k", b"v" * 70_000), typeflag=b"g"), named(b"f")),
        "hold too much",
    ),
    Case(
        "a global name",
        raw(pax_header((b"path", b"one"), typeflag=b"g"), named(b"a"), named(b"b")),
        holds={"one": b"", "a": None},
    ),
    Case(
        "a global name out",
        raw(pax_header((b"path", b"../out"), typeflag=b"g"), named(b"a")),
        '".." in it',
    ),
    Case(
        "a global size",
        raw(pax_header((b"size", b"4096"), typeflag=b"g"), named(b"a")),
        "the archive ends early",
    ),
    Case(
        "a global attribute of overlay",
        raw(pax_header((b"SCHILY.xattr.user.overlay.opaque", b"y"), typeflag=b"g"), named(b"f")),
        check=has_no_xattrs,
    ),
    Case(
        "a damaged global header",
        raw(raw_header(b"g", typeflag=b"g", size=sized(5)) + b"12345"),
        "damaged pax",
    ),
]

SPARSE = [
    Case("a hole of a terabyte", raw(sparse_map(b"0,0", b"%d" % (1 << 40))), check=is_a_hole),
    Case(
        "a hole of a terabyte in pax 1.0",
        raw(sparse_1_0(b"0\n", b"%d" % (1 << 40))),
        check=is_a_hole,
    ),
    Case(
        "a hole of a terabyte in the old format",
        raw(old_sparse(b"", base_256(1 << 40, 12), 0)),
        check=is_a_hole,
    ),
    Case(
        "a hole of 2^63 bytes",
        raw(sparse_map(b"0,0", b"%d" % (1 << 63))),
        "its size is out of range",
    ),
    Case(
        "a hole larger than files may be",
        raw(sparse_map(b"0,0", b"%d" % ((1 << 63) - 1))),
        "cannot be unpacked",
    ),
    Case("a negative size of a hole", raw(sparse_map(b"0,0", b"-1")), "its size is out of range"),
    Case(
        "pieces that overlap",
        raw(sparse_map(b"0,4,2,4", b"100", b"12345678")),
        "its map of holes is damaged",
    ),
    Case(
        "pieces out of order",
        raw(sparse_map(b"50,4,0,4", b"100", b"12345678")),
        "its map of holes is damaged",
    ),
    Case(
        "a piece of negative length",
        raw(sparse_map(b"0,-4", b"100")),
        "its map of holes is damaged",
    ),
    Case(
        "a piece before the beginning",
        raw(sparse_map(b"-4,4", b"100", b"1234")),
        "its map of holes is damaged",
    ),
    Case(
        "a piece behind the end",
        raw(sparse_map(b"98,4", b"100", b"1234")),
        "its map of holes is damaged",
    ),
    Case(
        "a piece that overflows",
        raw(sparse_map(b"9223372036854775807,4", b"100", b"1234")),
        "is damaged",
    ),
    Case(
        "pieces of more than there is",
        raw(sparse_map(b"0,8", b"100", b"1234")),
        "does not fit its data",
    ),
    Case(
        "pieces of less than there is",
        raw(sparse_map(b"0,2", b"100", b"1234")),
        "does not fit its data",
    ),
    Case("half a piece", raw(sparse_map(b"0,4,9", b"100", b"1234")), "its map of holes is damaged"),
    Case("a piece that is no number", raw(sparse_map(b"0,x", b"100", b"1234")), "not a number"),
    Case(
        "a map of 60,000 pieces",
        raw(sparse_map(b",".join(b"%d,0" % n for n in range(60_000)), b"60000")),
        holds={"sparse": bytes(60_000)},
    ),
    Case("a count that is no number", raw(sparse_1_0(b"x\n", b"100")), "not a number"),
    Case("a negative count", raw(sparse_1_0(b"-5\n0\n4\n", b"100")), "map of holes"),
    Case("a count of 10^15", raw(sparse_1_0(b"1000000000000000\n0\n4\n", b"100")), "ends early"),
    Case(
        "a count without an end",
        raw(sparse_1_0(b"1" * (2 << 20), b"100")),
        "its map of holes is too long",
    ),
    Case("a sparse name out", raw(sparse_1_0(b"0\n", b"100", b"../../out")), '".." in it'),
    Case(
        "a format of the future",
        raw(sparse_1_0(b"0\n", b"100", major=b"7")),
        "sparse files of this version are not supported",
    ),
    Case("an old map of rubbish", raw(old_sparse(b"rubbish" * 9, sized(100), 0)), "not octal"),
    Case(
        "an old map without end",
        raw(old_sparse(b"", sized(9), 0, b"\1"), *[b"\0" * 504 + b"\1" + bytes(7)] * 2100),
        "its map of holes is too long",
    ),
    Case(
        "a sparse directory",
        raw(
            pax((b"GNU.sparse.map", b"0,0"), (b"GNU.sparse.size", b"99")),
            named(b"d", typeflag=b"5"),
        ),
        holds={"d": "d"},
    ),
]

FLOOD = Limits(entries=50, text=100_000, steps=50_000)
FLOODS = [
    Case(
        "a flood of files",
        tar(*(file(f"{n}") for n in range(60))),
        "more than 50 entries",
        limits=FLOOD,
    ),
    Case(
        "a flood of whiteouts",
        tar(*(file(f".wh.{n}") for n in range(60))),
        "more than 50",
        limits=FLOOD,
    ),
    Case(
        "a flood of hard links",
        tar(*(hard_link(f"{n}", "etc/motd") for n in range(60))),
        "more than 50",
        limits=FLOOD,
    ),
    Case(
        "a flood of directories in one name",
        tar(file("d/" * 60 + "f")),
        "more than 50 entries",
        limits=FLOOD,
    ),
    Case("a flood of one name", tar(*[file("one")] * 60), "more than 50 entries", limits=FLOOD),
    Case(
        "a flood of attributes",
        tar(*(file(f"{n}", pax={"SCHILY.xattr.user.a": "v" * 9000}) for n in range(20))),
        "its names and attributes take more than 100,000 bytes",
        limits=FLOOD,
    ),
    Case(
        "a flood of global attributes",
        raw(
            pax_header((b"SCHILY.xattr.user.a", b"v" * 9000), typeflag=b"g"),
            *(named(b"%d" % n) for n in range(20)),
        ),
        "its names and attributes take more than 100,000 bytes",
        limits=FLOOD,
    ),
    Case(
        "a flood of long names",
        tar(*(file(("n" * 200 + "/") * 15 + f"{n}") for n in range(35))),
        "its names and attributes",
        limits=FLOOD,
    ),
    Case(
        "a flood of looks",
        tar(
            directory("d/" * 20),
            symlink("l", "d/" * 20),
            *(e for n in range(8) for e in (directory("r"), file("r"), file(f"l/{n}"))),
        ),
        "its paths take too long",
        limits=Limits(entries=500, steps=1000),
    ),
]

HEADERS = [*ENDS, *EXTENDED, *SPARSE, *FLOODS]
