"""The files that come first in the layers of a pushed image: see ``Packing.first``.

They are in a file of the user, which is either a record of ``ch-run --record`` or a list of paths;
or in the records that storage keeps.  A record has parts of blobs.  A file of which at least half
was read counts as read: if a start reads little of a large file, the rest is not worth a wait.
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_left
from mmap import ACCESS_READ, mmap

from sundog.base.kernel.files import Closing
from sundog.base.record.chunk_table import ChunkTable
from sundog.base.record.layer_path import LAYER_CHUNKS, LAYER_FILE, LAYER_SPANS
from sundog.base.record.lazy_layer import LAZY_BLOCK
from sundog.base.record.span_table import SpanTable
from sundog.base.record.start_record import STARTS, is_start, read_start, unpack_start
from sundog.errors import ArchiveError, UsageError
from sundog.image.layer.names import check_length, joined, normalised
from sundog.image.store.tree_work import paths_in_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sundog.base.record.layer_index import IndexEntry, LayerIndex
    from sundog.image.store.image_files import Image
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report

    FirstFiles = Mapping[LayerId, tuple[bytes, ...]]
    Start = Mapping[bytes, Sequence[int]]

KEPT = "kept"  # in place of a file: the records that storage keeps
_SIZE_LIMIT = 16 << 20  # bytes of a file
_PATHS_LIMIT = 100_000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def first_files(
    store: Store, source: str, name: str, images: Sequence[Image], report: Report
) -> FirstFiles:
    """Return the files that come first in the layers of ``images``, which are called ``name``.

    ``source`` is a file, or KEPT.  Raises UsageError if nothing in it is of these images, or if a
    layer with such files stays in a layout.
    """
    if source == KEPT:
        layers = {layer.encode() for image in images for layer in image.layers}
        starts = [start for start in _kept_starts(store) if layers.issuperset(start)]
        found = _of_starts(store, starts, images)
        what = "the records in storage have nothing"
    else:
        data = _read(source)
        what = f"{source} has nothing"
        if is_start(data):
            start = unpack_start(data)
            found = _of_starts(store, [start], images)
            lost = len(start.keys() - {layer.encode() for layer in found})
            _tell(report, lost, len(start), f"layers in {source}")
        else:
            paths, wrong = _paths(data, source)
            found, lost = _of_paths(store, paths, images)
            _tell(report, lost + wrong, len(paths) + wrong, f"paths in {source}")
    count = sum(map(len, found.values()))
    if not count:
        raise UsageError(
            f"--first: {what} of {name} as it is in storage",
            f"list paths in a file, or record a start: ch-image pull --lazy {name}",
        )
    for image in images:
        if not any(found.get(layer) for layer in image.layers):
            report.warning(f"--first: {what} of {name} for {image.platform}")
    for layer in (layer for layer, paths in found.items() if paths):
        absent = store.layers.absent(layer)
        if absent is not None and absent.layout:
            layout = os.fsdecode(absent.layout)
            raise UsageError(
                f"--first: a layer of {name} stays in {layout}, and was not checked",
                f"put the image into storage: ch-image load {layout}",
            )
    report.info(f"first:           {count:,} files in {sum(map(bool, found.values()))} layers")
    return found


def _tell(report: Report, lost: int, total: int, what: str) -> None:
    """Warn of what a file has that is nowhere in the images, unless that is all of it."""
    if 0 < lost < total:
        report.warning(f"--first: {lost:,} of {total:,} {what} are not in the image")


def _read(source: str) -> bytes:
    try:
        with open(source, "rb") as file:
            data = file.read(_SIZE_LIMIT + 1)
    except OSError as error:
        raise UsageError(
            f"--first: can't read {source}: {error.strerror}",
            f"name a file of ch-run --record, a file with paths, or: {KEPT}",
        ) from None
    if len(data) > _SIZE_LIMIT:
        raise _too_much(source, f"{_SIZE_LIMIT >> 20} MiB")
    return data


def _too_much(source: str, limit: str) -> UsageError:
    return UsageError(
        f"--first: {source} has more than {limit}", "list what a start reads, and not all files"
    )


def _kept_starts(store: Store) -> Iterator[Start]:
    """Yield the records in storage, the latest first."""
    try:
        directory = os.open(store.at(STARTS), _DIRECTORY)
    except OSError:
        return
    with Closing(directory):
        with os.scandir(directory) as entries:
            times = {os.fsencode(e.name): e.stat(follow_symlinks=False).st_mtime for e in entries}
        for name in sorted(times, key=lambda name: (-times[name], name)):
            if start := read_start(directory, name):
                yield start


def _paths(data: bytes, source: str) -> tuple[list[bytes], int]:
    """Return the paths in a list, each once, and the number of lines that are none."""
    found: dict[bytes, None] = {}
    wrong = 0
    for line in filter(None, data.split(b"\n")):
        try:
            path = normalised(line)
            check_length(path)
        except ArchiveError:
            path = b""
        if not path:
            wrong += 1
        elif len(found) == _PATHS_LIMIT and path not in found:
            raise _too_much(source, f"{_PATHS_LIMIT:,} paths")
        else:
            found[path] = None
    return [*found], wrong


def _of_paths(
    store: Store, paths: Sequence[bytes], images: Sequence[Image]
) -> tuple[FirstFiles, int]:
    """Return which paths the layers of images have, and the number of those that no image has.

    Only the topmost layer with a path counts: it hides the others.
    """
    found: dict[LayerId, tuple[bytes, ...]] = {}
    nowhere = set(paths)
    for image in images:
        left: Sequence[bytes] = paths
        for layer in reversed(image.layers):
            here = store.worker.call(paths_in_tree, store.layers.tree(layer), left)
            # Images may share a layer, and one of them hide what is in it.
            found[layer] = tuple(dict.fromkeys((*found.get(layer, ()), *here)))
            nowhere.difference_update(here)
            known = set(here)
            left = [path for path in left if path not in known]
    return found, len(nowhere)


def _of_starts(store: Store, starts: Iterable[Start], images: Sequence[Image]) -> FirstFiles:
    """Return the files of which starts read at least half, by layer."""
    blocks: dict[LayerId, dict[int, None]] = {}
    layers = {layer.encode(): layer for image in images for layer in image.layers}
    for start in starts:
        for each in start.keys() & layers.keys():
            blocks.setdefault(layers[each], {}).update(dict.fromkeys(start[each]))
    return {layer: tuple(_read_files(store, layer, [*read])) for layer, read in blocks.items()}


def _read_files(store: Store, layer: LayerId, blocks: Sequence[int]) -> list[bytes]:
    """Return the files of a layer that are in ``blocks`` of its blob, in their order."""
    extent = _extents(store.layers.directory(layer))
    if extent is None:
        return []
    known = sorted(blocks)
    turns = {block: turn for turn, block in enumerate(blocks)}
    found = []
    for path, entry in _files(store.layers.index(layer)):
        start, end = extent(entry)
        low = bisect_left(known, start // LAZY_BLOCK)
        high = bisect_left(known, -(-end // LAZY_BLOCK), low)
        if low == high:
            continue
        read = (high - low) * LAZY_BLOCK
        read -= max(0, start - known[low] * LAZY_BLOCK)
        read -= max(0, (known[high - 1] + 1) * LAZY_BLOCK - end)
        if 2 * read >= end - start:
            found.append((turns[known[low]], start, path))
    return [path for _, _, path in sorted(found)]


def _files(index: LayerIndex) -> Iterator[tuple[bytes, IndexEntry]]:
    """Yield the files of a layer that have contents, each with one of its names."""
    ahead = [(b"", index.entry(0))]
    while ahead:
        path, directory = ahead.pop()
        for entry in index.entries(directory):
            here = joined(path, entry.name)
            if entry.is_directory:
                ahead.append((here, entry))
            elif stat.S_ISREG(entry.mode) and entry.size and entry.number == entry.at:
                yield here, entry


def _extents(directory: bytes) -> Callable[[IndexEntry], tuple[int, int]] | None:
    """Return a function that tells where the contents of a file begin and end in a blob.

    None: the layer in ``directory`` is no blob.  The function raises StoreError.
    """
    if os.path.lexists(directory + LAYER_CHUNKS):
        chunks = ChunkTable(_mapped(directory + LAYER_CHUNKS))

        def of_chunks(entry: IndexEntry) -> tuple[int, int]:
            numbers = range(entry.place, chunks.last(entry.place) + 1)
            pieces = [chunk for chunk in map(chunks.chunk, numbers) if not chunk.is_zeros]
            ends = (piece.blob_offset + piece.blob_length for piece in pieces)
            return min((p.blob_offset for p in pieces), default=0), max(ends, default=0)

        return of_chunks
    if os.path.lexists(directory + LAYER_SPANS):
        size = os.stat(directory + LAYER_FILE).st_size
        spans = SpanTable(_mapped(directory + LAYER_SPANS), size)

        def of_spans(entry: IndexEntry) -> tuple[int, int]:
            first, last = spans.find(entry.place), spans.find(entry.place + entry.size - 1)
            return spans.span(first).blob_offset, spans.span(last).blob_end

        return of_spans
    return None


def _mapped(path: bytes) -> mmap:
    with open(path, "rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_READ)
