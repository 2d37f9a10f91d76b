"""Trees of images as archives: of tar in a container, which sees what all programs there see."""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
import time
from hashlib import sha256
from typing import TYPE_CHECKING

from sundog.image.layer.blob_tables import table_digest
from sundog.image.oci.descriptor import Descriptor
from tests.conftest import run_program, runner

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

# An image with layers that are worth a lazy pull; no other has its contents.
STEPS = """\
FROM base
RUN head -c 3000000 /dev/urandom >/noise && head -c 300000 /dev/zero >>/noise && chmod 600 /noise
RUN echo a >/a && chown 5:6 /a && chmod 4755 /a && mkdir /d && chown 7:8 /d && chmod 2750 /d && \
    ln /a /d/b && ln -s /a /d/c && rm /bin/awk && chown 9 /noise
RUN rm -r /d && mkdir /d && cp /noise /d/again
"""
DEVICES = "RUN mknod /null c 1 3 && mknod /fifo p\n"

Tree = dict[str, tuple[object, ...]]

# Sundog's own files, and the table of contents of eStargz: who knows none sees it as a file.
OF_ONE = ("ch", "stargz.index.json")
# What belongs to Sundog or to the host: what is mounted there, and where tar is.
NOT_OF_IMAGES = ("ch", "dev", "mnt", "proc", "seen", "sys", "tmp", "var/tmp")
# An order of the host's directories would decide which name of a file is its hard link.
TAR_OPTIONS = ("--sort=name", "--numeric-owner", "--xattrs", "--xattrs-include=*")
# The kernel shows modes to root of a namespace, and --notify shows owners.
LOOKS = (("-u0", "-g0", "--no-passwd"), ("--notify",))
LARGE = 1 << 20  # bytes of contents whose digest is enough
CLOCK_SECONDS = 0.1  # that the clock of file systems may be late
SMALL = 1 << 20  # layers with fewer bytes are pulled whole


def tree_of(archive: Path, *, hidden: Collection[str] = OF_ONE, until: float = 0.0) -> Tree:
    """Return kind, owner, mode, target, device, attributes, contents of each file, by its path.

    Left out are the root directory, and names in it that are ``hidden``.  Times count before
    ``until``, seconds since 1970.
    """
    found: Tree = {}
    with tarfile.open(archive) as tar:
        for entry in tar:
            name = os.path.normpath(entry.name)
            if name.partition("/")[0] in {".", *hidden}:
                continue
            data = tar.extractfile(entry) if entry.isreg() else None
            contents = b"" if data is None else data.read()
            if len(contents) > LARGE:
                contents = sha256(contents).digest()
            owner = (entry.uid, entry.gid, entry.mode & 0o7777)
            device = (entry.devmajor, entry.devminor) if entry.isdev() else ()
            xattrs = {key: text for key, text in entry.pax_headers.items() if "xattr" in key}
            about = (entry.linkname.removeprefix("./"), device, xattrs)
            mtime = entry.mtime if entry.mtime < until else 0
            found[name] = (entry.type, *owner, *about, mtime, contents)
    return found


def seen(storage: Path, name: str, *options: str, until: float = 0.0) -> Tree:
    """Return the tree of an image in a container; only what is read of a lazy one comes.

    Times count before ``until``, seconds since 1970.
    """
    place = storage.parent / f"{storage.name}.seen"
    if not place.exists():
        put_tar(place)
    (loader,) = place.glob("ld-*")
    tar = [f"/seen/{loader.name}", "--library-path", "/seen", "/seen/tar", *TAR_OPTIONS]
    tar += ["--one-file-system", *(f"--exclude=./{path}" for path in NOT_OF_IMAGES)]
    line = [f"--bind={place}:/seen", name, "--", *tar, "-C", "/", "-cf", "/seen/all", "."]
    runner("ch-run", storage)(*options, *line, env={"CH_RUN_LAZY": "ondemand"}, timeout=600)
    return tree_of(place / "all", hidden=(), until=until)


def put_tar(place: Path) -> None:
    """Put the host's tar and its libraries into a new directory."""
    place.mkdir()
    tar = shutil.which("tar")
    assert tar is not None
    for path in (tar, *re.findall(r"/\S+", run_program(["ldd", tar]).stdout)):
        shutil.copy(path, place)


def differences_when_lazy(name: str, place: Path, *, times: bool = True) -> list[str]:
    """Pull an image lazily and as a whole; return what differs in the eyes of programs.

    What Sundog makes, so that something can be mounted there, has no time.
    """
    until = (time.time() - CLOCK_SECONDS) * times
    manifest = json.loads(runner("ch-image", place / "none")("inspect", "--remote", name).stdout)
    layers = map(Descriptor.from_json, manifest["layers"])
    is_lazy = any(layer.size >= SMALL and table_digest(layer) for layer in layers)
    trees: dict[str, list[Tree]] = {}
    for way, words in {"lazy": ["--lazy"], "whole": []}.items():
        storage = place / way
        runner("ch-image", storage)("pull", *words, name, timeout=600)
        # So that nothing is compared with itself.
        assert bool([*storage.glob("layers/*/here")]) == (is_lazy and way == "lazy")
        trees[way] = [seen(storage, name, *options, until=until) for options in LOOKS]
    found = []
    for one, other in zip(trees["lazy"], trees["whole"], strict=True):
        assert one
        paths = sorted(one.keys() | other.keys())
        unequal = [path for path in paths if one.get(path) != other.get(path)]
        found += [f"{path}: {one.get(path)} {other.get(path)}"[:300] for path in unequal]
    return found
