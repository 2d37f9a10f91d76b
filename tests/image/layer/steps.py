"""Layers made as the two drivers make them: by a step in an overlay, and in a copy.

All functions run in the namespaces of the tree worker.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from sundog.image.layer.below import LayerTree
from sundog.image.layer.flatten import flatten
from sundog.image.layer.scan import diff, scan
from sundog.image.layer.seal import seal_upper
from sundog.image.layer.unpack import unpack
from tests.image.layer.archives import Entry, archive
from tests.image.layer.namespace import mounted
from tests.image.layer.trees import Seen, look

if TYPE_CHECKING:
    from collections.abc import Sequence

Shown = dict[bytes, tuple[str, int, bytes, bytes]]


def layers_of(place: bytes, *archives: Sequence[Entry]) -> list[LayerTree]:
    """Unpack archives over each other; return the layers, the topmost first."""
    layers: list[LayerTree] = []
    for entries in archives:
        tree = os.path.join(place, b"layer%d" % len(layers))
        os.mkdir(tree)
        layers.insert(0, LayerTree(tree, unpack(archive(*entries), tree, below=layers).owners))
    return layers


def make_skeleton(place: bytes) -> bytes:
    skeleton = os.path.join(place, b"skeleton")
    for name in (b"dev", b"proc", b"sys", b"tmp", b"etc"):
        os.makedirs(os.path.join(skeleton, name))
    os.chmod(skeleton + b"/tmp", 0o1777)
    with open(skeleton + b"/etc/hosts", "w") as file:
        file.write("127.0.0.1 localhost\n")
    return skeleton


def overlay_step(
    place: bytes, below: Sequence[LayerTree], skeleton: bytes, script: str
) -> LayerTree | None:
    """Run ``script`` in an overlay of ``below`` and make a layer of it."""
    upper, work = place + b"/upper", place + b"/work"
    os.mkdir(upper, stat_mode(below))
    os.chmod(upper, stat_mode(below))
    os.mkdir(work)
    lowers = [layer.tree for layer in below] + [skeleton]
    with mounted(lowers, place + b"/mount", upper=upper, work=work) as mount:
        run(mount, script)
    owners = seal_upper(upper, below, skeleton)
    return None if owners is None else LayerTree(upper, owners)


def copy_step(
    place: bytes, below: Sequence[LayerTree], skeleton: bytes, script: str
) -> LayerTree | None:
    """Run ``script`` in a copy of ``below`` and make a layer of the differences."""
    work, out = place + b"/copy", place + b"/out"
    flatten([LayerTree(skeleton, {}), *below[::-1]], work)
    before = scan(work)
    run(work, script)
    os.mkdir(out)
    owners = diff(work, before, out, below, skeleton)
    return None if owners is None else LayerTree(out, owners)


STEPS = {"overlay": overlay_step, "copy": copy_step}


def run(directory: bytes, script: str) -> None:
    subprocess.run(["/bin/sh", "-euc", script], cwd=directory, check=True)


def stat_mode(below: Sequence[LayerTree]) -> int:
    return os.stat(below[0].tree).st_mode & 0o7777 if below else 0o755


def shown(tree: bytes) -> Shown:
    """Return the essence of a tree: kinds, modes, texts, and which names are one file."""
    return {path: _essence(seen) for path, seen in look(tree).items()}


def _essence(seen: Seen) -> tuple[str, int, bytes, bytes]:
    # The kernel makes all of its whiteouts hard links to one device.
    return seen.kind, seen.mode, seen.text, b"" if seen.kind == "c" else seen.same


def ls_and_find(tree: bytes) -> tuple[str, str]:
    """Return the output of ``ls -la`` and ``find`` without the parts that differ by tree."""
    environment = {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "TZ": "UTC"}
    find = subprocess.run(
        ["find", ".", "-printf", "%P %y %m %l\n"],
        cwd=tree,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    ls = subprocess.run(
        "find . -type d | sort | while read -r d; do echo $d: ; ls -lA --time-style=+ $d | "
        'awk \'{$2 = ""; if ($1 ~ /^d/) $5 = ""; if ($1 !~ /^total/) print}\'; done',
        shell=True,
        cwd=tree,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return "\n".join(sorted(find.stdout.splitlines())), ls.stdout
