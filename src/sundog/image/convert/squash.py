"""Write SquashFS files: ``mksquashfs`` or ``tar2sqfs`` makes them from a tar.

Owners, devices, capabilities and other attributes are in the tar, and so in the file.  No mount and
no privilege is needed.  ``mounted_squash`` is the faster way for an image of layers.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from sundog.base.kernel.files import Closing
from sundog.errors import ArchiveError, EndsEarly, SundogError
from sundog.image.convert.flow import CHUNK, pump
from sundog.image.convert.outputs import output_file
from sundog.image.convert.pseudo_file import LATEST, RootInode, attribute, is_definable
from sundog.image.layer.header import NANOSECONDS
from sundog.image.layer.tar import TarReader
from sundog.image.oci.timestamps import EPOCH_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sundog.image.layer.header import Member
    from sundog.image.transfer.report import Transfer

    Compressor = tuple[str, int | None]

BLOCK_SIZE = 128 << 10
# The compressors, and what makes them as fast as they are good.
ZSTD, GZIP = ("zstd", 3), ("gzip", None)
_NEEDED = (4, 6)
_ROOT_LIMIT = 4 << 20  # bytes until the header of the root has come
_MESSAGE_LIMIT = 4096

MKSQUASHFS, TAR2SQFS = "mksquashfs", "tar2sqfs"


@dataclass(frozen=True, slots=True)
class Maker:
    """A program that makes SquashFS.

    program     its absolute path
    from_tar    takes the output and the root; returns the arguments that make SquashFS of a tar
    """

    name: str
    program: str
    from_tar: Callable[[Output, RootInode], Sequence[str | bytes]]


@dataclass(frozen=True, slots=True)
class Output:
    """A SquashFS file on its way.

    destination its name for messages
    file        the descriptor of the new file
    said        takes what the program says
    compressor  its name and level; None for its own level
    offset      where SquashFS begins in the file
    """

    destination: str
    file: int
    said: BinaryIO
    compressor: Compressor
    offset: int = 0

    @property
    def path(self) -> bytes:
        """A path by which a process that inherits ``file`` opens the file."""
        return b"/proc/self/fd/%d" % self.file


def making_arguments(output: Output, root: RootInode) -> Sequence[str | bytes]:
    """Return the arguments of mksquashfs that say how ``output`` is made, and what its root is."""
    compressor, level = output.compressor
    arguments: list[str | bytes] = [
        *(output.path, "-noappend", "-no-progress", "-quiet", "-exit-on-error", "-no-exports"),
        *("-comp", compressor, "-b", str(BLOCK_SIZE), "-offset", str(output.offset)),
        *(("-Xcompression-level", str(level)) if level else ()),
        *("-root-mode", f"{root.mode:o}", "-root-uid", str(root.uid), "-root-gid", str(root.gid)),
        *("-root-time", str(root.seconds)),
    ]
    for name, value in root.xattrs:
        arguments += ["-p", b"/ " + attribute(name, value)]
    return arguments


def _mksquashfs(output: Output, root: RootInode) -> Sequence[str | bytes]:
    return ["-", *making_arguments(output, root), "-mkfs-time", "0", "-tar"]


def _tar2sqfs(output: Output, root: RootInode) -> Sequence[str | bytes]:
    name, level = output.compressor
    defaults = f"mode=0{root.mode:o},uid={root.uid},gid={root.gid},mtime={root.seconds}"
    return [
        *("--force", "--quiet", "--compressor", name),
        *(("--comp-extra", f"level={level}") if level else ()),
        *("--block-size", str(BLOCK_SIZE), "--defaults", defaults, output.path),
    ]


def find_maker(*, has_offset: bool = False) -> Maker:
    """Return the program that makes SquashFS here; raise SundogError if there is none.

    With ``has_offset``, the file system need not begin where the file does.
    """
    why = f"{MKSQUASHFS} not found"
    if program := shutil.which(MKSQUASHFS):
        said = subprocess.run([program, "-version"], capture_output=True, check=False).stdout
        version = re.match(rb"mksquashfs version (\d+)\.(\d+)", said)
        if version is not None:
            if (int(version[1]), int(version[2])) >= _NEEDED:
                return Maker(MKSQUASHFS, os.path.abspath(program), _mksquashfs)
            why = f"{MKSQUASHFS} {version[1].decode()}.{version[2].decode()} is too old"
    if (program := shutil.which(TAR2SQFS)) and not has_offset:
        return Maker(TAR2SQFS, os.path.abspath(program), _tar2sqfs)
    raise SundogError(
        f"can't make SquashFS: {why}",
        "install squashfs-tools 4.6 or newer"
        + ("" if has_offset else ", or squashfs-tools-ng (tar2sqfs)"),
    )


@contextmanager
def squash_output(
    destination: str, compressor: Compressor = ZSTD, offset: int = 0
) -> Iterator[Output]:
    """Give a file to be made, which then replaces ``destination``."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with (
        output_file(destination) as draft,
        open(os.memfd_create("said", os.MFD_CLOEXEC), "w+b") as said,
        Closing(os.open(draft, flags, 0o666)) as file,
    ):
        yield Output(destination, file, said, compressor, offset)


def start(
    maker: Maker,
    arguments: Sequence[str | bytes],
    output: Output,
    *,
    stdin: int,
    keep: Sequence[int] = (),
    latest: int | None = None,
    prepare: Callable[[], None] | None = None,
) -> subprocess.Popen[bytes]:
    """Start the program, which inherits the descriptors ``keep``.

    No file will be younger than ``latest``, in seconds since 1970, if mksquashfs reads a tree.  The
    new process calls ``prepare`` first; for that, this process may have no threads.
    """
    environment = {key: value for key, value in os.environ.items() if key != EPOCH_VARIABLE}
    if latest is not None:
        environment[EPOCH_VARIABLE] = str(min(latest, LATEST))
    return subprocess.Popen(
        [maker.program, *arguments],
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=output.said,
        env=environment,
        start_new_session=True,  # ^C is for us: we end it
        pass_fds=[output.file, *keep],
        preexec_fn=prepare,  # noqa: PLW1509 - see above
    )


def write_squash(stream: BinaryIO, output: Output, maker: Maker, transfer: Transfer) -> None:
    """Write ``output`` from the tar in ``stream``.

    The first member of the tar is its root.  Raises SundogError with what the program says.
    """
    head, root = _root_of(stream)
    process = start(maker, maker.from_tar(output, root), output, stdin=subprocess.PIPE)
    assert process.stdin is not None
    try:
        with process.stdin as pipe:
            try:
                pump(io.BytesIO(head), pipe.fileno(), transfer)
                pump(stream, pipe.fileno(), transfer)
            except BrokenPipeError:
                pass  # it tells why
        status = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    check_status(status, maker, output)


def _root_of(stream: BinaryIO) -> tuple[bytes, RootInode]:
    """Return the first bytes of a tar, and its first member."""
    head = b""
    while len(head) < _ROOT_LIMIT:
        more = stream.read(CHUNK)
        head += more
        try:
            return head, _root_inode(next(iter(TarReader(io.BytesIO(head)))))
        except EndsEarly:
            if not more:
                raise
    raise ArchiveError("the header of its root is too long")


def _root_inode(member: Member) -> RootInode:
    seconds = min(max(member.mtime_ns // NANOSECONDS, 0), LATEST)
    xattrs = tuple(pair for pair in sorted(member.xattrs.items()) if is_definable(*pair))
    return RootInode(member.mode, member.uid, member.gid, seconds, xattrs)


def check_status(status: int, maker: Maker, output: Output) -> None:
    """Raise SundogError, with what the program has said, unless ``status`` is 0."""
    if not status:
        return
    said = output.said
    said.seek(0, os.SEEK_END)
    said.seek(max(said.tell() - _MESSAGE_LIMIT, 0))
    lines = [line.strip() for line in said.read().splitlines()]
    told = [line for line in lines if line and not line.startswith(b"Empty tar filename")]
    fatal = [line for line in told if b"FATAL" in line or b"rror" in line or b"ailed" in line]
    why = (fatal or told or [b""])[0].decode("utf-8", "backslashreplace") or f"exit status {status}"
    if status < 0:
        why = f"killed by signal {-status}"
    raise SundogError(f"can't write {output.destination}: {maker.name}: {why}")
