"""The record of what a container reads of layer files: the next start gets that first.

The record is a file of the host, in a directory that was opened before the container began: so
nothing that a program of the container does with paths leads to another file.
"""

from __future__ import annotations

import os

from sundog.base.cpython import allocate_lock, start_new_thread
from sundog.base.kernel.files import Closing, write_all
from sundog.base.record.lazy_layer import LAZY_BLOCK
from sundog.base.record.start_record import (
    RECORDED_BLOCKS,
    STARTS_LIMIT,
    pack_start,
    read_start,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.runtime.fuse.blob import Blob

_FIRST_PAUSE, _PAUSE_LIMIT = 1.0, 64.0  # seconds until a record is written that has grown
_GAP = 32  # blocks between two that were read: they come, too, rather than by another request
_RUN = 512  # blocks that are asked for at once
_RUNS = 128  # of a layer


class ReadOrder:
    """The record ``name`` in an open ``directory``, and what this start reads.

    ``is_kept``: the directory is that of the store, and has a bounded number of records.  Threads
    may share it.
    """

    def __init__(self, directory: int, name: bytes, *, is_kept: bool) -> None:
        self._directory = directory
        self._name = name
        self._is_kept = is_kept
        self.earlier = read_start(directory, name)
        self._lock = allocate_lock()  # of all that follows
        self._read: dict[bytes, dict[int, None]] = {}
        self._count = 0
        self._saved = 0
        self._saving = allocate_lock()  # one thread writes
        start_new_thread(self._save_often, ())

    def noted(self, layer: bytes, blob: Blob) -> Blob:
        """Return ``blob``, the file of ``layer``, as one whose reads are recorded."""

        def note(offset: int, size: int) -> None:
            blocks = range(offset // LAZY_BLOCK, -(-(offset + size) // LAZY_BLOCK))
            with self._lock:
                known = self._read.setdefault(layer, {})
                for block in blocks:
                    if block not in known and self._count < RECORDED_BLOCKS:
                        known[block] = None
                        self._count += 1

        return _NotedBlob(blob, note)

    def save(self) -> None:
        """Write the record, unless the earlier one says it all.  A failure has no effect."""
        with self._saving:
            with self._lock:
                if self._count == self._saved:
                    return
                self._saved = self._count
                read = {layer: [*blocks] for layer, blocks in self._read.items()}
            known = self.earlier
            if not all(set(blocks).issubset(known.get(each, ())) for each, blocks in read.items()):
                self._write(pack_start(read))

    def _write(self, record: bytes) -> None:
        """Put the record in place of the earlier one.  A failure has no effect."""
        draft = self._name + b".%d.new" % os.getpid()
        # The container may be able to write here, and to put a FIFO there.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            try:  # noqa: SIM105 - contextlib is no part of the server
                os.unlink(draft, dir_fd=self._directory)  # a killed process's
            except FileNotFoundError:
                pass
            with Closing(os.open(draft, flags, 0o600, dir_fd=self._directory)) as fd:
                write_all(fd, record)
            os.rename(draft, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
            if self._is_kept:
                self._forget_oldest()
        except OSError:  # the disk is full, or read-only
            return

    def _save_often(self) -> None:
        """Write the record while the container runs: a batch system may kill all of a job."""
        never = allocate_lock()
        never.acquire()
        pause = _FIRST_PAUSE
        while True:
            never.acquire(timeout=pause)
            self.save()
            pause = min(2 * pause, _PAUSE_LIMIT)

    def _forget_oldest(self) -> None:
        """Remove the oldest records, and what killed processes left.  Raises OSError."""
        found = []
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        with Closing(os.open(b".", flags, dir_fd=self._directory)) as directory:
            with os.scandir(directory) as entries:
                for entry in entries:
                    found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
            for _, name in sorted(found)[: max(0, len(found) - STARTS_LIMIT)]:
                os.unlink(name, dir_fd=directory)


class _NotedBlob:
    """A blob whose reads are noted."""

    __slots__ = ("_note", "_read", "discard", "expect", "has_some", "lacks")

    def __init__(self, blob: Blob, note: Callable[[int, int], None]) -> None:
        self._read = blob.read
        self.lacks = blob.lacks
        self.has_some = blob.has_some
        self.expect = blob.expect
        self.discard = blob.discard
        self._note = note

    def read(self, offset: int, size: int) -> bytes:
        """See ``Blob``."""
        self._note(offset, size)
        return self._read(offset, size)


def joined_runs(blocks: Sequence[int]) -> list[range]:
    """Return runs that have ``blocks``, of which near ones are one; the first read comes first."""
    turns = {block: turn for turn, block in reversed([*enumerate(blocks)])}
    runs: list[range] = []
    for block in sorted(turns):
        last = runs[-1] if runs else range(0)
        if last and block - last.stop <= _GAP and block - last.start < _RUN:
            runs[-1] = range(last.start, block + 1)
        else:
            runs.append(range(block, block + 1))
    runs.sort(key=lambda run: min(turns[block] for block in run if block in turns))
    return runs[:_RUNS]
