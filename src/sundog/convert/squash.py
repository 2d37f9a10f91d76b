"""Write SquashFS files: ``mksquashfs`` or ``tar2sqfs`` makes them from a tar.

Owners, devices, capabilities and other attributes are in the tar, and so in the file.  No mount and
no privilege is needed.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from sundog.convert.flow import CHUNK, pump
from sundog.convert.outputs import output_file
from sundog.errors import ArchiveError, EndsEarly, SundogError
from sundog.layer.tar import TarReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.layer.header import Member
    from sundog.transfer.report import Transfer

BLOCK_SIZE = 128 << 10
_LEVEL = 3
_NEEDED = (4, 6)
_NANOSECONDS = 1_000_000_000
_LATEST = (1 << 32) - 1
_ROOT_LIMIT = 4 << 20  # bytes until the header of the root has come
_MESSAGE_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Maker:
    """A program that makes SquashFS of a tar; ``arguments`` takes the output and the root."""

    name: str
    arguments: Callable[[bytes, Member], Sequence[str | bytes]]


def _mksquashfs(out: bytes, root: Member) -> Sequence[str | bytes]:
    return [
        *("mksquashfs", "-", out, "-tar", "-noappend", "-no-progress", "-quiet", "-exit-on-error"),
        *("-comp", "zstd", "-Xcompression-level", str(_LEVEL), "-b", str(BLOCK_SIZE)),
        *("-root-mode", f"{root.mode:o}", "-root-uid", str(root.uid), "-root-gid", str(root.gid)),
        *("-root-time", str(_seconds(root)), "-mkfs-time", "0"),
    ]


def _tar2sqfs(out: bytes, root: Member) -> Sequence[str | bytes]:
    defaults = f"mode=0{root.mode:o},uid={root.uid},gid={root.gid},mtime={_seconds(root)}"
    return [
        *("tar2sqfs", "--force", "--quiet", "--compressor", "zstd", "--comp-extra"),
        *(f"level={_LEVEL}", "--block-size", str(BLOCK_SIZE), "--defaults", defaults, out),
    ]


def _seconds(member: Member) -> int:
    return min(max(member.mtime_ns // _NANOSECONDS, 0), _LATEST)


def find_maker() -> Maker:
    """Return the program that makes SquashFS here; raise SundogError if there is none."""
    found = ""
    if shutil.which("mksquashfs"):
        said = subprocess.run(["mksquashfs", "-version"], capture_output=True, check=False).stdout
        version = re.match(rb"mksquashfs version (\d+)\.(\d+)", said)
        if version is not None:
            if (int(version[1]), int(version[2])) >= _NEEDED:
                return Maker("mksquashfs", _mksquashfs)
            found = f"mksquashfs {version[1].decode()}.{version[2].decode()} is too old"
    if shutil.which("tar2sqfs"):
        return Maker("tar2sqfs", _tar2sqfs)
    raise SundogError(
        f"can't make SquashFS: {found or 'mksquashfs not found'}",
        "install squashfs-tools 4.6 or newer, or squashfs-tools-ng (tar2sqfs)",
    )


def write_squash(stream: BinaryIO, destination: str, maker: Maker, transfer: Transfer) -> None:
    """Make the file ``destination`` of the tar in ``stream``, in place of what is there.

    The first member of the tar is its root.  Raises SundogError with what the program says.
    """
    head, root = _root_of(stream)
    environment = {key: value for key, value in os.environ.items() if key != "SOURCE_DATE_EPOCH"}
    with output_file(destination) as draft, tempfile.TemporaryFile() as said:
        # The program would follow a link that another user has put there.
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        process = subprocess.Popen(
            maker.arguments(os.path.abspath(draft), root),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=environment,
            start_new_session=True,  # ^C is for us: we end it
        )
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
        if status:
            raise _failed(destination, maker.name, status, said)


def _root_of(stream: BinaryIO) -> tuple[bytes, Member]:
    """Return the first bytes of a tar, and its first member."""
    head = b""
    while len(head) < _ROOT_LIMIT:
        more = stream.read(CHUNK)
        head += more
        try:
            return head, next(iter(TarReader(io.BytesIO(head))))
        except EndsEarly:
            if not more:
                raise
    raise ArchiveError("the header of its root is too long")


def _failed(destination: str, name: str, status: int, said: BinaryIO) -> SundogError:
    said.seek(0, os.SEEK_END)
    said.seek(max(said.tell() - _MESSAGE_LIMIT, 0))
    lines = [line.strip() for line in said.read().splitlines()]
    told = [line for line in lines if line and not line.startswith(b"Empty tar filename")]
    fatal = [line for line in told if b"FATAL" in line or b"rror" in line or b"ailed" in line]
    why = (fatal or told or [b""])[0].decode("utf-8", "backslashreplace") or f"exit status {status}"
    if status < 0:
        why = f"killed by signal {-status}"
    return SundogError(f"can't write {destination}: {name}: {why}")
