"""Layers that are files: they show what the trees show, and leave as the same tars."""

import os
import stat
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sundog.base.record.layer_index import INDEX_OPAQUE
from sundog.base.record.layer_path import LayerPath
from sundog.base.record.names import canonical_name
from sundog.errors import ArchiveError
from sundog.image.convert.layer_file import pack_image, unpack_image
from sundog.image.layer.below import LayerTree
from sundog.image.layer.unpack import unpack
from sundog.image.oci.config import ImageConfig
from sundog.image.store.image_files import Image
from sundog.image.store.layer_ids import LayerId, file_layer_id
from sundog.image.store.store import Store
from sundog.image.store.tree_work import finish_draft, new_tree
from sundog.runtime.container.enter import enter_namespaces
from sundog.runtime.container.root import OverlayRoot, mount_root
from sundog.runtime.fuse.layer_server import enter_with
from sundog.runtime.process.child import Child
from tests.image.layer.archives import Entry, archive, directory, file, hard_link, symlink
from tests.image.layer.trees import Seen, look

pytestmark = pytest.mark.usefixtures("fuse")


class Silent:
    """Takes the reports of a transfer."""

    def info(self, text: str) -> None: ...
    def verbose(self, text: str) -> None: ...
    def warning(self, text: str) -> None: ...
    def advance(self, size: int) -> None: ...
    def end(self) -> None: ...
    def transfer(self, _label: str, _verb: str, _total: int) -> "Silent":
        return self


@pytest.fixture
def store(storage: Path) -> Generator[Store]:
    with Store.open(str(storage), driver="overlay") as opened:
        yield opened


def put(store: Store, name: str, layers: Sequence[Sequence[Entry]]) -> Image:
    """Make an image of archives, the lowest layer first."""
    below: list[LayerId] = []
    for entries in layers:
        place = store.scratch.new()
        trees = [LayerTree.read(path) for path in store.layers.paths(below)]
        unpacked = unpack(archive(*entries), new_tree(place), below=trees)
        info = finish_draft(place, unpacked.owners, unpacked.diff_id)
        below.append(store.layers.add(place, os.urandom(10).hex(), info))
    image = Image(canonical_name(name), name, ImageConfig(), tuple(below))
    store.images.put(image)
    return image


def packed(store: Store, name: str) -> Image:
    """Pack an image; return what it is now."""
    pack_image(store, store.images.get(name), Silent())
    return store.images.get(name)


def differences(pairs: Sequence[tuple[bytes, bytes]]) -> list[str]:
    """Compare trees, each with the one that a layer file shows, as root of a user namespace."""

    def compare(tie: object) -> list[str]:
        enter_with([shown for _, shown in pairs], lambda: enter_namespaces(0, 0))
        return [difference for tree, shown in pairs for difference in _compared(tree, shown)]

    return cast("list[str]", Child(compare).result())


def _compared(tree: bytes, shown: bytes) -> Iterator[str]:
    before, after = look(tree), look(os.path.join(shown, b""))
    for path in sorted(before.keys() | after.keys()):
        if _timed(before.get(path)) != _timed(after.get(path)):
            yield f"{path!r}: {before.get(path)} {after.get(path)}"
        one, other = os.lstat(os.path.join(tree, path)), os.lstat(os.path.join(shown, path))
        if path and (one.st_nlink, one.st_rdev) != (other.st_nlink, other.st_rdev):
            yield f"{path!r}: {one} {other}"


def _timed(seen: Seen | None) -> Seen | None:
    """Return an entry; nobody sees the time of a whiteout."""
    return seen if seen is None or seen.kind != "c" else replace(seen, mtime_ns=0)


def check(store: Store, image: Image) -> Image:
    """Pack an image; check that each layer shows the same, and leaves as the same tar."""
    after = packed(store, image.typed)
    layers = store.layers
    assert after.layers == tuple(map(file_layer_id, image.layers))
    assert all(map(layers.is_file, after.layers))
    pairs = [
        (layers.tree(o), layers.tree(n)) for o, n in zip(image.layers, after.layers, strict=True)
    ]
    assert differences(pairs) == []
    for old, new in zip(image.layers, after.layers, strict=True):
        assert layers.owners(old) == layers.owners(new)
        assert layers.write_tar(new, os.devnull.encode()) == layers.write_tar(
            old, os.devnull.encode()
        )
        assert layers.root_mode([old]) == layers.root_mode([new])
        assert layers.guesses(old) == layers.guesses(new)
        assert layers.size(old) == layers.size(new)
    check_unpacked(store, image, after)
    return after


def check_unpacked(store: Store, image: Image, after: Image) -> None:
    """Unpack an image whose trees are elsewhere; check that they are the same, by the same IDs."""
    layers, kept = store.layers, []
    for layer in image.layers:
        kept.append(LayerPath.of(store.scratch.new() + b"/kept"))
        os.rename(layers.directory(layer), os.path.dirname(kept[-1].tree))
    assert unpack_image(store, after, Silent()) == len(image.layers)
    assert store.images.get(image.typed).layers == image.layers
    made = [LayerPath.of(layers.directory(layer)) for layer in image.layers]
    assert differences([(old.tree, new.tree) for old, new in zip(kept, made, strict=True)]) == []
    for old, new in zip(kept, made, strict=True):
        for name in ("owners", "links"):
            one, other = (Path(os.fsdecode(getattr(each, name))) for each in (old, new))
            assert one.read_bytes() == other.read_bytes()
    for layer, packed in zip(image.layers, after.layers, strict=True):
        assert replace(layers.info(packed), packed="") == layers.info(layer)


NOTE = {"SCHILY.xattr.user.note": "on a file"}
LOWER = [
    directory(".", mode=0o750, mtime=5),
    directory("d", mode=0o2755, uid=100, gid=102, pax={"SCHILY.xattr.user.note": "on a directory"}),
    file("d/old", b"old" * 100_000, mode=0o4755, uid=7),
    file("d/gone"),
    directory("e"),
    file("e/hidden"),
    file(b"e/\xff\n \\:,", b"odd"),
    file("empty", b""),
    file("note", pax=NOTE | {"mtime": "1600000000.123456789"}),
    hard_link("d/hard", "note"),
    symlink("d/link", "../../e/f\xff"),
    Entry("pipe", "p", mode=0o600),
    Entry("null", "c", device=(1, 3), uid=3),
    file("secret", b"s", mode=0),
]
UPPER = [
    file("d/.wh.gone", b""),
    file("e/.wh..wh..opq", b""),
    file("e/new", b"new", mtime=-5),
    file("d/old", b"changed"),
]


def test_two_layers_with_all_there_is(store: Store) -> None:
    image = put(store, "img", [LOWER, UPPER])
    after = check(store, image)
    index = store.layers.index(after.layers[1])
    gone, opaque = index.find(b"d/gone"), index.find(b"e")
    assert gone is not None
    assert stat.S_ISCHR(gone.mode)
    assert opaque is not None
    assert opaque.flags == INDEX_OPAQUE
    # An overlay on top of them obeys the marks.
    roots = [store.driver.root(each.layers) for each in (image, after)]

    def merged(_tie: object) -> list[list[bytes]]:
        trees = [store.layers.tree(layer) for layer in after.layers]
        enter_with(trees, lambda: enter_namespaces(0, 0))
        found = []
        for root in roots:
            assert isinstance(root, OverlayRoot)
            place = b"/proc/self/fd/%d/" % mount_root(root)
            found.append(sorted(look(place, times=False)))
        return found

    one, other = cast("list[list[bytes]]", Child(merged).result())
    assert one == other
    assert b"e/new" in one
    assert b"e/hidden" not in one
    assert b"d/gone" not in one


def test_a_layer_that_is_a_file_stays(store: Store) -> None:
    put(store, "img", [LOWER])
    first = packed(store, "img")
    assert pack_image(store, first, Silent()) == 0
    # The trees are garbage now.
    store.collect()
    assert store.layers.list() == list(first.layers)


NAMES = st.sampled_from(["a", "b", "c\xff", "d d", "\xe9\n"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@st.composite
def entries(draw: st.DrawFn) -> list[Entry]:
    """Return members of a layer, some of which replace others or stand below files."""
    found: list[Entry] = []
    for path in draw(st.lists(PATHS, max_size=12)):
        kind = draw(st.sampled_from("ffffdddlphcwo"))
        mode = draw(st.integers(0, 0o7777)) | (0o700 if kind == "d" else 0o400)
        uid, gid = draw(st.sampled_from([(0, 0), (5, 6), (0, 42)]))
        pax = {"mtime": f"{draw(st.integers(0, 4 << 30))}.{draw(st.integers(0, 999999999)):09}"}
        if draw(st.booleans()) and kind in "fd":
            pax["SCHILY.xattr.user.x"] = draw(st.text("xyz", max_size=5))
        parent, _, name = path.rpartition("/")
        if kind == "h":
            files = [each.name for each in found if each.kind == "f"]
            if files:
                found.append(hard_link(path, draw(st.sampled_from(files))))
        elif kind == "w":
            found.append(file(os.path.join(parent, ".wh." + name), b""))
        elif kind == "o":
            found.append(file(os.path.join(path, ".wh..wh..opq"), b""))
        else:
            data = draw(st.binary(max_size=40)) * draw(st.sampled_from([1, 1, 5000]))
            link = draw(PATHS)
            device = (draw(st.integers(0, 5)), draw(st.integers(0, 5)))
            found.append(Entry(path, kind, data, mode, uid, gid, link=link, device=device, pax=pax))
    return found


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(layers=st.lists(entries(), min_size=1, max_size=3))
def test_random_layers(store: Store, layers: list[list[Entry]]) -> None:
    try:
        image = put(store, "img", layers)
    except ArchiveError:  # a hard link to what another member has removed
        return
    check(store, image)


def test_debian(store: Store, debian_tar: Path) -> None:
    draft = store.scratch.new()
    with open(debian_tar, "rb") as tar:
        unpacked = unpack(tar, new_tree(draft))
    info = finish_draft(draft, unpacked.owners, unpacked.diff_id)
    layer = store.layers.add(draft, os.urandom(10).hex(), info)
    image = Image(canonical_name("debian"), "debian", ImageConfig(), (layer,))
    store.images.put(image)
    check(store, image)
