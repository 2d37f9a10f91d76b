"""The order of writes to the device: every sync and every rename of whole commands."""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from sundog.image.store.device import LAG_LIMIT
from tests.conftest import command
from tests.image.registry.servers import InProcessRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SYNC = re.compile(r"(fsync|syncfs)\(\d+<([^>]*)>\) += 0")
_RENAME = re.compile(r"(?:rename|renameat|renameat2)\((.*)\) += 0")
_SYMLINK = re.compile(r'symlink\((".*)\) += 0')
_QUOTED = re.compile(r'"([^"]*)"')
# These names have to survive a power cut; commands make all others anew, or never read them.
_LASTING = re.compile(r"/(images|layers|cache|trees|blobs/sha256)$")

# "sync", path; for syncfs(2) "sync", ""; or "rename", old, new; or "symlink", target, path
Event = tuple[str, str, str]


class Traced:
    """A runner of ``ch-image`` under strace(1)."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.storage = place / "storage"

    def __call__(self, *words: str | Path) -> list[Event]:
        """Run a command; return its syncs, renames and symlinks, with absolute paths, in order."""
        log = self.place / "log"
        calls = "trace=fsync,fdatasync,syncfs,sync,sync_file_range,rename,renameat,renameat2,"
        calls += "symlink,symlinkat"
        subprocess.run(
            [
                *("strace", "-f", "-qq", "-y", "-s", "4096", "-e", calls, "-e", "signal=none"),
                *("-o", log, *command("ch-image"), *words),
            ],
            env=os.environ | {"CH_IMAGE_STORAGE": str(self.storage)},
            cwd=self.place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
        return list(self._events(log.read_text()))

    def _events(self, log: str) -> Iterator[Event]:
        pending: dict[str, str] = {}
        for line in log.splitlines():
            thread, _, call = line.partition(" ")
            call = call.strip()
            if call.endswith("<unfinished ...>"):
                pending[thread] = call.removesuffix("<unfinished ...>").strip()
                continue
            if resumed := re.match(r"<\.\.\. \w+ resumed>", call):
                call = pending.pop(thread) + call[resumed.end() :]
            if found := _SYNC.match(call):
                yield ("sync", "" if found[1] == "syncfs" else found[2], "")
            elif found := _RENAME.match(call):
                old, new = (os.path.join(self.place, path) for path in _QUOTED.findall(found[1]))
                yield ("rename", old, new)
            elif found := _SYMLINK.match(call):
                target, path = _QUOTED.findall(found[1])
                yield ("symlink", target, os.path.join(self.place, path))


@pytest.fixture
def traced(tmp_path: Path) -> Traced:
    context = tmp_path / "context"
    context.mkdir()
    (context / "data").write_text("data")
    (context / "Dockerfile").write_text("FROM bb\nRUN echo 1 >/1\nCOPY data /\nRUN true\nCMD x\n")
    return Traced(tmp_path)


def check(events: list[Event], lasting: re.Pattern[str] = _LASTING) -> None:
    """Assert that each rename follows the sync of its file and precedes that of its name."""
    last = 0  # the event after that in which the last layer got its name
    for index, (what, old, new) in enumerate(events):
        directory = os.path.dirname(new)
        if what != "rename" or not (
            lasting.search(directory) or lasting.search(os.path.dirname(old))
        ):
            continue
        before = [path for event, path, _ in events[:index] if event == "sync"]
        after = [path for event, path, _ in events[index:] if event == "sync"]
        assert "" in after or {directory, os.path.dirname(old)} & set(after), (old, new, events)
        if directory.endswith("/layers"):
            if ("sync", "", "") not in events[last:index]:  # it may lag, but nothing refers to it
                check_references(os.path.basename(new), events[index:])
            last = index + 1
        elif lasting.search(directory) and not directory.endswith("/cache"):  # of symlinks
            written = [path for path in before if path == "" or (path + "/").startswith(old + "/")]
            # Blobs were synced under other names.
            assert written or "/blobs/" in old, (old, new, events)


def check_references(layer: str, events: list[Event]) -> None:
    """Assert that a sync of all precedes each later image, and each lasting entry of the layer.

    ``events`` begin when the layer gets its name.
    """
    targets = {path: target for what, target, path in events if what == "symlink"}
    for index, (what, old, new) in enumerate(events):
        refers = "/images/" in new or targets.get(old) == f"../layers/{layer}"
        if what == "rename" and refers:
            assert ("sync", "", "") in events[:index], (layer, old, new, events)


def syncs(events: list[Event]) -> int:
    return sum(what == "sync" for what, _, _ in events)


def test_what_lasts_is_synced(traced: Traced, busybox_tar: Path) -> None:
    check(traced("import", busybox_tar, "bb"))
    check(traced("build", "-t", "img", "context"))
    check(traced("tag", "img", "again"))
    check(traced("modify", "-c", "echo 2 >/2", "img", "other"))
    check(traced("delete", "again", "other"))
    check(traced("save", "-o", "saved", "img"), re.compile(f"{traced.place}$"))
    check(traced("save", "--format=oci-dir", "-o", "layout", "img"), re.compile(f"{traced.place}$"))
    check(traced("load", "saved", "loaded"))
    with InProcessRegistry().serve() as registry:
        check(traced("push", "img", f"{registry.host}/x"))
        check(traced("delete", "img", "loaded"))
        check(traced("pull", f"{registry.host}/x"))
    ids = ("--iidfile", "id", "--metadata-file", "metadata")
    check(traced("build", "-t", "new", *ids, "context"), re.compile(f"{traced.place}$"))
    check(traced("reset"))


def test_an_image_comes_after_what_it_refers_to(traced: Traced, busybox_tar: Path) -> None:
    events = traced("import", busybox_tar, "bb")
    renamed = {
        re.sub(r".*/storage/(\w+).*", r"\1", new): index
        for index, (what, _, new) in enumerate(events)
        if what == "rename"
    }
    between = events[renamed["layers"] : renamed["images"]]
    assert ("sync", "", "") in between


def test_a_new_storage_is_known_by_its_version(traced: Traced) -> None:
    events = traced("list")
    version = str(traced.storage / "version")
    index = [new for _, _, new in events].index(version)
    assert ("sync", events[index][1], "") in events[:index]
    assert ("sync", str(traced.storage), "") in events[index:]


def test_layers_of_a_build_are_synced_together(traced: Traced, busybox_tar: Path) -> None:
    traced("import", busybox_tar, "bb")
    steps = "".join(f"COPY data /{n}\n" for n in range(20))
    (traced.place / "context/Dockerfile").write_text(f"FROM bb\n{steps}")
    begin = time.monotonic()
    events = traced("build", "-t", "img", "context")
    check(events)
    lags = (time.monotonic() - begin) // LAG_LIMIT
    assert 1 <= sum(event == ("sync", "", "") for event in events) <= 1 + lags
    links = {path: target for what, target, path in events if what == "symlink"}
    entries = [links[old] for what, old, new in events if what == "rename" and "/cache/" in new]
    kinds = [target.split("/")[0] for target in entries]
    assert 20 - lags <= kinds.count("lags") <= kinds.count("..") == 20
    assert traced("build", "-t", "img", "context") == []


def test_who_changes_nothing_syncs_nothing(traced: Traced, busybox_tar: Path) -> None:
    traced("import", busybox_tar, "bb")
    traced("build", "-t", "img", "context")
    for words in (
        ("build", "-t", "img", "context"),
        ("build", "-t", "img", "--dry-run", "context"),
        ("list",),
        ("inspect", "bb"),
    ):
        traced(*words)  # the first run may measure a layer
        assert traced(*words) == []


def test_syncs_are_few(traced: Traced, busybox_tar: Path) -> None:
    traced("import", busybox_tar, "bb")
    events = traced("build", "-t", "img", "-t", "img2", "-t", "img3", "context")
    # Two layers and all images; names of images, and of cache entries.  A slow RUN is synced.
    assert syncs(events) in (3, 4)
    assert syncs(traced("list", "-l")) == 1  # for all sizes
    assert syncs(traced("list", "-l")) == 0
    # The command syncs only its own files, never the file system that others write to.
    assert ("sync", "", "") not in traced("tag", "img", "again")
