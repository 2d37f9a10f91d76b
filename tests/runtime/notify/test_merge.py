"""The layer that decides about a path: the topmost that has it, or a file on the way to it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.base.record.owners import OwnerRecord, OwnersManifest
from sundog.runtime.emulation.notify.state.persist import merged_manifest

NAMES = ("a", "b")
PATHS = ["", *NAMES, *(f"{one}/{two}" for one in NAMES for two in NAMES), "a/a/a", "a/a/b", "b/a/a"]
KINDS = st.dictionaries(st.sampled_from(PATHS[1:]), st.sampled_from("fdl"), max_size=6)


def make(top: Path, kinds: dict[str, str]) -> None:
    """Make the files of ``kinds``, except those below a file or a link."""
    top.mkdir()
    for path, kind in sorted(kinds.items()):
        location = top / path
        if any(parent.is_symlink() or parent.is_file() for parent in location.parents):
            continue
        location.parent.mkdir(parents=True, exist_ok=True)
        if kind == "d":
            location.mkdir(exist_ok=True)
        elif not os.path.lexists(location):
            if kind == "f":
                location.touch()
            else:
                location.symlink_to("a")


def decides(top: Path, path: str) -> bool:
    """Tell whether a layer decides about a path, one component after another."""
    location = top
    for name in path.split("/") if path else ():
        if location.is_symlink() or not location.is_dir():
            return True
        location /= name
        if not os.path.lexists(location):
            return False
    return True


@settings(deadline=None)
@given(st.lists(KINDS, min_size=1, max_size=4))
def test_the_topmost_layer_that_has_a_path_decides(layers: list[dict[str, str]]) -> None:
    place = Path(tempfile.mkdtemp())
    trees = [place / str(number) for number in range(len(layers))]
    descriptors = []
    try:
        stack: list[tuple[int, OwnersManifest]] = []
        for number, (tree, kinds) in enumerate(zip(trees, layers, strict=True)):
            make(tree, kinds)
            descriptors.append(os.open(tree, os.O_RDONLY))
            there = [path for path in PATHS if os.path.lexists(tree / path)]
            record = OwnerRecord("f", number + 1)
            stack.append((descriptors[-1], {os.fsencode(path): record for path in there}))
        merged = merged_manifest(stack)
        for path in PATHS:
            topmost = next((n for n, tree in enumerate(trees) if decides(tree, path)), None)
            if topmost is None or os.fsencode(path) not in stack[topmost][1]:
                assert os.fsencode(path) not in merged
            else:
                assert merged[os.fsencode(path)].uid == topmost + 1
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
        shutil.rmtree(place)
