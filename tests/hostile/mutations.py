"""Mutations of archives and documents, from a seed: the same seed makes the same inputs.

They start from the table's cases and good archives, because a text that every reader refuses at
once tests nothing.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
from typing import TYPE_CHECKING, Any

from tests.hostile.cases import BASE_LAYER, Layout, docker, image_config, oci
from tests.image.layer.archives import (
    Entry,
    archive,
    directory,
    file,
    hard_link,
    pax_header,
    symlink,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

BLOCK = 512
NUMBERS = (0, 1, -1, 7, 255, 511, 512, 513, 2**31, 2**32, 2**62, 2**63, -(2**63), 10**19, 10**30)
NAMES = (
    *(
        b"",
        b".",
        b"..",
        b"/",
        b"a",
        b"a/b",
        b"../a",
        b"/etc/passwd",
        b"etc",
        b"etc/motd",
        b"l",
        b"l/x",
    ),
    *(
        b".wh.",
        b".wh.a",
        b".wh..wh..opq",
        b"d/" * 300,
        b"n" * 300,
        b"\xff\xfe",
        b"\x1b[2J",
        b"d/.wh.x",
    ),
)
KEYS = (
    *(b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime", b"hdrcharset", b"GNU.sparse.map"),
    *(b"GNU.sparse.size", b"GNU.sparse.realsize", b"GNU.sparse.major", b"GNU.sparse.name"),
    *(b"GNU.sparse.offset", b"GNU.sparse.numbytes", b"SCHILY.xattr.user.a", b"LIBARCHIVE.xattr.a"),
    *(
        b"SCHILY.xattr.user.overlay.opaque",
        b"SCHILY.xattr.security.capability",
        b"SCHILY.acl.access",
    ),
)
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1,
        1.5,
        2**64,
        10**4000,
        "",
        "x",
        "../../x",
        "sha256:" + "0" * 64,
        "\ud800",
        "\x1b",
    ),
    *(
        [],
        {},
        [None],
        [[]],
        {"a": {}},
        ["a"] * 300,
        "y" * 9000,
        "application/vnd.oci.image.index.v1+json",
    ),
)
PRESSES: tuple[Callable[[bytes], bytes], ...] = (bytes, gzip.compress, bz2.compress, lzma.compress)


def tree_archive(rng: random.Random) -> bytes:
    """Return an archive of random entries, pax headers of random records among them."""
    makers: tuple[Callable[[], Entry], ...] = (
        lambda: file(rng.choice(NAMES), bytes(rng.randrange(3000))),
        lambda: directory(rng.choice(NAMES), mode=rng.randrange(0o10000)),
        lambda: symlink(rng.choice(NAMES), rng.choice(NAMES)),
        lambda: hard_link(rng.choice(NAMES), rng.choice(NAMES)),
        lambda: Entry(rng.choice(NAMES), rng.choice("cbp"), device=(1, 3), uid=rng.randrange(9)),
    )
    out = b""
    for _ in range(rng.randrange(1, 12)):
        if rng.random() < 0.4:
            records = [(rng.choice(KEYS), value(rng)) for _ in range(rng.randrange(1, 4))]
            out += pax_header(*records, typeflag=rng.choice([b"x", b"x", b"g"]))
        try:
            one = archive(rng.choice(makers)()).getvalue()
        except ValueError:  # tarfile refuses such a name
            continue
        out += one[: len(one) - 10240 + (-len(one) % 512) or None].rstrip(b"\0")
        out += bytes(-len(out) % BLOCK)
    return out + bytes(2 * BLOCK)


def value(rng: random.Random) -> bytes:
    """Return a value that a record may have."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(NAMES)
    if kind == 1:
        return b",".join(b"%d" % rng.choice(NUMBERS) for _ in range(rng.randrange(6)))
    return b"%d" % rng.choice(NUMBERS) if kind == 2 else rng.randbytes(rng.randrange(20))


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Return ``data`` with a few bytes, fields or blocks changed; checksums mostly right."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        if not made:
            return b""
        change = rng.randrange(7)
        at = rng.randrange(len(made))
        block = at // BLOCK * BLOCK
        if change == 0:
            made[at] ^= 1 << rng.randrange(8)
        elif change == 1:
            del made[at:]
        elif change == 2:
            made[block:block] = made[block : block + BLOCK * rng.randrange(1, 4)]
        elif change == 3:
            del made[block : block + BLOCK]
        elif change == 4:
            offset, width = rng.choice(((100, 8), (108, 8), (124, 12), (136, 12), (329, 8)))
            made[block + offset : block + offset + width] = field(rng, width)
        elif change == 5:
            made[block + 156 : block + 157] = rng.choice(b"01234567xgLKSDVXZ").to_bytes(1, "big")
        else:
            made[at : at + rng.randrange(20)] = rng.choice((rng.randbytes(8), value(rng)))
        if rng.random() < 0.9 and change in (0, 4, 5, 6):
            mend_checksum(made, block)
    return bytes(made)


def field(rng: random.Random, width: int) -> bytes:
    number = rng.choice(NUMBERS)
    if number >= 0 and rng.random() < 0.5:
        return b"%0*o\0" % (width - 1, number % 8 ** (width - 1))
    top = 1 << (width * 8 - 1)
    return ((number % (2 * top)) | top).to_bytes(width, "big")


def mend_checksum(data: bytearray, block: int) -> None:
    header = data[block : block + BLOCK]
    if len(header) == BLOCK:
        header[148:156] = b" " * 8
        data[block + 148 : block + 156] = b"%06o\0 " % sum(header)


def changed_value(rng: random.Random, document: Any) -> Any:
    """Return a JSON value in which something is replaced, doubled or missing."""
    if isinstance(document, dict) and document and rng.random() < 0.85:
        key = rng.choice(sorted(document))
        copy = dict(document)
        if rng.random() < 0.1:
            del copy[key]
        else:
            copy[key] = changed_value(rng, copy[key])
        return copy
    if isinstance(document, list) and document and rng.random() < 0.85:
        copy_of = list(document)
        at = rng.randrange(len(copy_of))
        if rng.random() < 0.2:
            return copy_of * rng.choice((0, 2, 30))
        copy_of[at] = changed_value(rng, copy_of[at])
        return copy_of
    return rng.choice(VALUES)


def docker_archive(rng: random.Random) -> bytes:
    """Return an archive like docker save's, of a changed image."""
    layers = [tree_archive(rng) for _ in range(rng.randrange(3))]
    what = rng.randrange(3)
    good = docker(*layers)
    if what == 0:
        return docker(*layers, manifest=lambda entry: changed_value(rng, [entry]))()
    if what == 1:
        config = changed_value(rng, image_config(BASE_LAYER, *layers, config=CONFIG))
        return docker(*layers, config=config)()
    return mutated(rng, good())


CONFIG: dict[str, Any] = {
    "Env": ["PATH=/bin"],
    "Cmd": ["sh"],
    "Entrypoint": None,
    "Labels": {"a": "b"},
    "Volumes": {"/data": {}},
    "ExposedPorts": {"80/tcp": {}},
    "User": "0:0",
    "WorkingDir": "/",
    "Healthcheck": {"Test": ["NONE"], "Interval": 5},
}


def oci_archive(rng: random.Random) -> bytes:
    """Return a layout with one of its documents changed, digests right or wrong."""
    what = rng.choice(("config", "manifest", "index", "layout", "bytes"))

    def early(layout: Layout) -> None:
        if what == "config":
            layout.config = changed_value(rng, layout.config | {"config": CONFIG, "history": []})
        if what == "manifest":
            layout.manifest |= changed_value(rng, layout.manifest | {"mediaType": "", "x": 1}) or {}

    def late(layout: Layout) -> None:
        if what == "index":
            layout.index = changed_value(rng, layout.index)
        if what == "layout":
            layout.layout = changed_value(rng, layout.layout)

    try:
        data = oci(early, late)()
    except (TypeError, AttributeError, ValueError, KeyError):  # these parts don't fit together
        data = oci()()
        what = "bytes"
    return mutated(rng, data) if what == "bytes" else data


def tree_input(rng: random.Random, known: Sequence[bytes]) -> bytes:
    """Return an input for import: one of ``known``, or a new one, changed; perhaps compressed."""
    data = tree_archive(rng) if rng.random() < 0.4 else rng.choice(known)
    if rng.random() < 0.8:
        data = mutated(rng, data)
    pressed = rng.choice(PRESSES)(data) if rng.random() < 0.3 else data
    return mutated(rng, pressed) if rng.random() < 0.1 else pressed
