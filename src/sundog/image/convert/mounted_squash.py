"""Write a SquashFS file of an image in a store: ``mksquashfs`` reads it where it is mounted.

The layers are mounted as ``ch-run`` mounts them, read-only, in a mount namespace that only this
conversion sees.  No process has to write a tar, to pass it on, and to take it apart.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, replace

from sundog.base.kernel.files import Closing
from sundog.base.kernel.process import set_pdeathsig
from sundog.errors import KernelError, SundogError
from sundog.image.convert.flow import produced, task
from sundog.image.convert.pseudo_file import LATEST, describe
from sundog.image.convert.squash import (
    MKSQUASHFS,
    check_status,
    making_arguments,
    start,
    write_squash,
)
from sundog.image.layer.below import Below, LayerTree
from sundog.image.layer.flat_tar import write_layers
from sundog.image.layer.header import NANOSECONDS
from sundog.image.transfer.packing import warn_of_image
from sundog.runtime.container.enter import enter_namespaces, mount_scratch
from sundog.runtime.container.root import mount_root
from sundog.runtime.fuse.layer_server import enter_with
from sundog.runtime.process.watch import PERIOD, WATCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.base.record.layer_path import LayerPath
    from sundog.image.convert.flow import Flow
    from sundog.image.convert.pseudo_file import Description
    from sundog.image.convert.squash import Maker, Output
    from sundog.image.layer.tar_writer import TarWriter
    from sundog.image.layer.whole_image import Added
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Transfer
    from sundog.runtime.container.root import Root

_SLACK = 16 << 10  # bytes of a tmpfs for each file and for itself


@dataclass(frozen=True, slots=True)
class StackedImage:
    """An image in a store: how its layers are mounted, the layers themselves, what is added."""

    root: Root
    layers: Sequence[LayerPath]
    added: Added


@dataclass(frozen=True, slots=True)
class Work:
    """The work of packing an image: program, rules, and those who are told.

    ``warn`` is told which files lose set-id bits.
    """

    maker: Maker
    flow: Flow
    transfer: Transfer
    warn: Callable[[str], None]


def mountable_root(store: Store, layers: Sequence[LayerId]) -> Root | None:
    """Return how the layers of an image, bottom first, are mounted; None if they can't be here."""
    try:
        driver = store.driver
    except (OSError, SundogError):  # a store that can't be written: nothing can be tried there
        return None
    return driver.root(layers) if driver.name == "overlay" else None


def squash_layers(
    store: Store,
    layers: Sequence[LayerId],
    added: Added,
    output: Output,
    work: Work,
) -> None:
    """Write ``output`` of layers, bottom first, and of what is ``added``: see ``whole_image``.

    Raises SundogError with what the program says.
    """
    root, paths = mountable_root(store, layers), store.layers.paths(layers)
    if root is not None:
        image = StackedImage(root, paths, added)
        if squash_mounted(image, output, work):
            return

    def write(archive: TarWriter) -> None:
        write_layers(archive, [LayerTree.read(path) for path in paths], added)

    flow, trees = replace(work.flow, latest=LATEST), [path.tree for path in paths]
    with produced(write, flow, work.warn, trees=trees) as stream:
        write_squash(stream, output, work.maker, work.transfer)


def squash_mounted(image: StackedImage, output: Output, work: Work) -> bool:
    """Write ``output`` of ``image``.

    Returns False, and writes nothing, if the program reads no trees, if the layers can't be mounted
    here, or if mksquashfs can't be told what they hold.  Raises SundogError with what it says.
    """
    if work.maker.name != MKSQUASHFS:
        return False
    shown = 0

    def show(count: int) -> None:
        nonlocal shown
        work.transfer.advance(count - shown)
        shown = count

    def inside(tie: Callable[[], None]) -> tuple[int, list[bytes]] | None:
        enter_with([layer.tree for layer in image.layers], lambda: enter_namespaces(0, 0))
        tie()
        return _made(image, work.flow, output, work.maker)

    WATCH.start()
    with task(inside, [output.file, output.said.fileno()]) as running, WATCH.shown(show):
        outcome = running.result()
    match outcome:
        case None:
            return False
        case (int(status), list(dropped)):
            check_status(status, work.maker, output)
            warn_of_image(dropped, work.warn)
            return True
    raise AssertionError


def _made(
    image: StackedImage, flow: Flow, output: Output, maker: Maker
) -> tuple[int, list[bytes]] | None:
    """Mount the image and run mksquashfs; return its exit status and the dropped entries."""
    room = sum(len(one.content) + _SLACK for one in image.added.values()) + _SLACK
    try:
        scratch = mount_scratch(b"%d" % room)
        root = mount_root(image.root)
    except KernelError:
        return None
    with Below([LayerTree.read(layer) for layer in image.layers]) as view:
        place = _path_of(scratch)
        description = describe(
            view, image.added, place, keeps_xattrs=flow.keeps_xattrs, latest=flow.epoch
        )
    if description is None:
        return None
    _write_added(description, scratch)
    pseudo, excluded = map(_in_memory, (description.definitions, description.excluded))
    arguments = [
        *(_path_of(root) + b"/.", *making_arguments(output, description.root)),
        # The pseudo file alone decides about owners and attributes.
        *("-all-root", "-pseudo-override", "-pf", _path_of(pseudo), "-ef", _path_of(excluded)),
        *(("-xattrs-exclude", ".") if flow.keeps_xattrs else ("-no-xattrs",)),
        *(("-mkfs-time", "0") if flow.epoch is None else ()),
    ]
    # Not the image: with an empty word in LD_LIBRARY_PATH, libraries come from this directory.
    os.chdir(b"/")
    parent = os.getpid()

    def tie() -> None:
        set_pdeathsig(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    process = start(
        maker,
        arguments,
        output,
        stdin=subprocess.DEVNULL,
        keep=[root, scratch, pseudo, excluded],
        latest=flow.epoch,
        prepare=tie,
    )
    return _counted(process), list(description.dropped)


def _path_of(fd: int) -> bytes:
    return b"/proc/self/fd/%d" % fd


def _in_memory(data: bytes) -> int:
    """Return the descriptor of a file without a name that holds ``data``."""
    fd = os.memfd_create("mksquashfs", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    return fd


def _write_added(description: Description, scratch: int) -> None:
    """Write the added files into the directory ``scratch``."""
    time = description.root.seconds * NANOSECONDS
    for number, entry in enumerate(description.files):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(b"%d" % number, flags, 0o600, dir_fd=scratch), "wb") as file:
            file.write(entry.content)
            os.fchmod(file.fileno(), entry.mode)
            file.flush()
            os.utime(file.fileno(), ns=(time, time))


def _counted(process: subprocess.Popen[bytes]) -> int:
    """Wait for the program; count the bytes that it reads meanwhile.  Return its status."""
    counted = 0
    with Closing(os.pidfd_open(process.pid)) as pidfd:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        while not poll.poll(PERIOD * 1000):
            with suppress(OSError, ValueError, IndexError):  # a kernel that does not count
                with open(f"/proc/{process.pid}/io", "rb") as file:
                    count = int(file.readline().split()[1])  # rchar
                WATCH.count(count - counted)
                counted = count
    return process.wait()
