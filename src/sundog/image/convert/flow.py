"""Tars of whole images on their way from one format to another, without a copy in between.

A source is a tar that comes through a pipe from a process of its own.  That process is mock root in
a user namespace, so the modes of the user's own files are no obstacle to it.
"""

from __future__ import annotations

import io
import os
import signal
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, cast

from sundog.base.kernel.files import write_all
from sundog.image.layer.tar_writer import TarWriter
from sundog.image.transfer.packing import warn_of_image
from sundog.runtime.container.enter import enter_namespaces
from sundog.runtime.fuse.layer_server import enter_with
from sundog.runtime.process.child import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed import WriteableBuffer

    from sundog.image.transfer.report import Transfer

CHUNK = 1 << 20
_PIPE_SIZE = 1 << 20
_F_SETPIPE_SZ = 1031
_ENDING = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Flow:
    """Options for tars: the latest time, whether they have attributes and whiteouts.

    With ``is_flat``, a name that means a whiteout elsewhere is a name like others.  ``latest`` is
    the latest time that the reader can keep, in seconds since 1970; None for any.
    """

    epoch: int | None
    keeps_xattrs: bool
    is_flat: bool
    latest: int | None = None


class Task:
    """A function that runs in a process of its own, see ``task``."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.is_running = True

    def result(self) -> object:
        """Wait for the function; return its result or raise its exception."""
        self.is_running = False
        return self._child.result()

    def kill(self) -> None:
        """End the process, if it runs."""
        if self.is_running:
            self.is_running = False
            self._child.kill()


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Have signals that would end this process wait until the context ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def task(
    function: Callable[[Callable[[], None]], object], keep: Iterable[int] | None = None
) -> Iterator[Task]:
    """Run ``function`` in a ``Child``; an exception that leaves the context kills it.

    No signal can come between the start of the process and the context.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        running = Task(Child(function, keep))
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            yield running
        except BaseException:
            running.kill()
            raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Produced(io.RawIOBase):
    """The output of a process on a pipe; its end comes only after the process has succeeded."""

    def __init__(self, fd: int, running: Task, warn: Callable[[str], None]) -> None:
        self._fd = fd
        self._warn = warn
        self._task = running

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        count = os.readv(self._fd, [buffer])
        if not count:
            self.check()
        return count

    def check(self) -> None:
        """Wait for the process; raise its error."""
        if self._task.is_running:
            match self._task.result():
                case (list(dropped), int(moved)):
                    warn_of_image(dropped, self._warn)
                    if moved:
                        self._warn(f"times before 1970 or after 2106 moved to the nearest: {moved}")

    def give_up(self) -> None:
        """End the process after a failure here; raise its error if it failed first."""
        os.close(self._fd)
        if self._task.is_running:
            with suppress(BrokenPipeError):
                self._task.result()


@contextmanager
def produced(
    write: Callable[[TarWriter], None],
    flow: Flow,
    warn: Callable[[str], None],
    keep: Iterable[int] = (),
    trees: Iterable[bytes] = (),
) -> Iterator[BinaryIO]:
    """Run ``write`` in a process of its own; give the tar that it writes.

    The process keeps the descriptors ``keep``, and sees ``trees``, which may be those of layers
    that are files.  ``warn`` is told which files lose set-id bits.
    Raises what ``write`` raises.  The calling process has no threads.
    """
    read_end, write_end = wide_pipe()

    def inside(tie: Callable[[], None]) -> tuple[list[bytes], int]:
        enter_with(trees, lambda: enter_namespaces(0, 0))
        tie()
        with open(write_end, "wb", buffering=0) as out:
            archive = TarWriter(
                out,
                flow.epoch,
                hashes=False,
                keeps_xattrs=flow.keeps_xattrs,
                is_flat=flow.is_flat,
                latest=flow.latest,
            )
            write(archive)
            archive.end()
        return archive.dropped, archive.moved

    with task(inside, [write_end, *keep]) as running:
        os.close(write_end)
        stream = _Produced(read_end, running, warn)
        try:
            yield cast("BinaryIO", stream)
        except Exception:
            stream.give_up()
            raise
        stream.check()
        os.close(read_end)


def wide_pipe() -> tuple[int, int]:
    """Return the read end and the write end of a pipe with room for 1 MiB, if it may have that."""
    import fcntl  # noqa: PLC0415 - with its use

    ends = os.pipe()
    with suppress(OSError):  # the user's pipes have taken pipe-user-pages-soft
        fcntl.fcntl(ends[1], _F_SETPIPE_SZ, _PIPE_SIZE)
    return ends


def full_chunks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield all of ``stream`` in chunks of one size: what compressors make depends on that."""
    chunk = bytearray()
    while data := stream.read(CHUNK - len(chunk)):
        chunk += data
        if len(chunk) == CHUNK:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)


def pump(stream: BinaryIO, fd: int, transfer: Transfer) -> None:
    """Write all of ``stream`` to ``fd``.  Raises BrokenPipeError if nobody reads any more."""
    while data := stream.read(CHUNK):
        write_all(fd, data)
        transfer.advance(len(data))
