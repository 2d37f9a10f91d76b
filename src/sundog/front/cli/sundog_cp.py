"""``sundog cp``: files between the host and containers, which may run or not.

Specification: podman-cp(1).
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.errors import SundogError, UsageError
from sundog.front.cli.container_files import HOST, Place, files_of
from sundog.front.cli.sundog_context import run_safely
from sundog.front.cli.sundog_scan import scanned
from sundog.front.podman.container_options import CP
from sundog.front.podman.containers import own_containers
from sundog.front.stored import storage_directory
from sundog.image.layer.file_stream import DIRECTORY, FILE, NOTHING, kind, pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.front.cli.sundog_context import Context
    from sundog.runtime.process.child import Child

_STREAM = "-"
_STDIN, _STDOUT = 0, 1
_CONTENTS = ("/.", "/..")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no reader meets them


class End:
    """A source or a destination.

    place      where the path leads
    name       the container as the user called it; "" for the host
    path       the path there; "-" for standard input or output
    """

    __slots__ = ("name", "path", "place")

    def __init__(self, place: Place, name: str, path: str) -> None:
        self.place = place
        self.name = name
        self.path = path

    @property
    def is_stream(self) -> bool:
        """Tell whether it is a tar on standard input or output."""
        return not self.name and self.path == _STREAM

    def kind(self) -> str:
        """Return what the path leads to."""
        return str(self.run(lambda: kind(os.fsencode(self.path)), []).result())

    def run(self, action: Callable[[], object], keep: Sequence[int]) -> Child:
        """Start an action where the path leads, in a process with the descriptors ``keep``."""
        return self.place.run(action, keep)

    def missing(self) -> SundogError:
        """Return the error for a path that leads nowhere."""
        return self._error(os.fsencode(self.path), "no such file or directory")

    def refusal(self, error: OSError) -> SundogError:
        """Return the error for what the kernel refuses there."""
        name = self.path if error.filename is None else error.filename
        return self._error(os.fsencode(name), (error.strerror or str(error)).lower())

    def _error(self, path: bytes, what: str) -> SundogError:
        where = f"in container {self.name}" if self.name else "on the host"
        return SundogError(f"{printable(path)}: {what} {where}")


def cp(words: Sequence[str], context: Context) -> int:
    """Copy a file or a directory; return the exit status."""
    line = scanned("cp", words, CP)
    if line is None:
        return 0
    if len(line.operands) != 2:
        raise UsageError("cp: it takes a source and a destination", _HINT)
    texts = [_split(operand) for operand in line.operands]
    if not any(name for name, _ in texts):
        raise UsageError("cp: neither is in a container", _HINT)

    def action() -> int:
        containers = own_containers(storage_directory(context.storage))
        with files_of(containers, [name for name, _ in texts if name], context) as places:
            source, target = (
                End(places[name] if name else HOST, name, path) for name, path in texts
            )
            _copy(source, target, overwrite=line.is_set("overwrite"))
        return 0

    return run_safely(action)


_HINT = "sundog cp CONTAINER:PATH PATH, or sundog cp PATH CONTAINER:PATH; - is a tar"


def _split(operand: str) -> tuple[str, str]:
    """Return the container, "" for the host, and the path of an operand."""
    name, colon, path = operand.partition(":")
    if not colon or "/" in name or name in ("", ".", ".."):
        return "", operand
    return name, path if path.startswith("/") else f"/{path}"


def _copy(source: End, target: End, *, overwrite: bool) -> None:
    """Copy from one end to the other.  Raises SundogError."""
    directory, name = _destination(source, target)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    started: list[tuple[End, Child]] = []
    # This process keeps no end of the pipe: when one of the others fails, the other one notices.
    with Closing(reader), Closing(writer):
        if not source.is_stream:
            out = os.dup(_STDOUT) if target.is_stream else writer
            path = os.fsencode(source.path)
            started.append((source, source.run(lambda: pack(path, os.fsencode(name), out), [out])))
        if not target.is_stream:
            come = os.dup(_STDIN) if source.is_stream else reader
            options = {"overwrite": overwrite, "keep_set_id": bool(target.name)}
            started.append(
                (
                    target,
                    target.run(lambda: unpack(os.fsencode(directory), come, **options), [come]),
                )
            )
    failures: list[Exception] = []
    unread: list[Exception] = []
    for end, process in started:
        try:
            process.result()
        except BrokenPipeError as error:  # whoever reads has failed, and says why
            unread.append(error)
        except OSError as error:
            if target.is_stream and error.errno in _FULL:
                error.filename = "/dev/stdout"
                failures.append(error)
            else:
                failures.append(end.refusal(error))
        except SundogError as error:
            failures.append(error)
    for failure in failures + unread:
        raise failure


def _destination(source: End, target: End) -> tuple[str, str]:
    """Return the directory that gets the files, and the name that the source has there.

    The name is empty if the directory gets the contents of the source.  Raises SundogError.
    """
    is_tree = source.is_stream or source.kind() == DIRECTORY
    if not source.is_stream and source.kind() == NOTHING:
        raise source.missing()
    takes_contents = source.path.endswith(_CONTENTS) or source.path in (".", "..", "/")
    base = os.path.basename(source.path.rstrip("/"))
    if target.is_stream:
        return "", "" if is_tree and takes_contents else base
    found = target.kind()
    if found == DIRECTORY:
        return target.path, "" if source.is_stream or (is_tree and takes_contents) else base
    if source.is_stream or (found == FILE and is_tree):
        raise SundogError(
            f"{printable(os.fsencode(target.path))}: not a directory",
            "a tar and a directory go to a directory",
        )
    parent, name = os.path.split(target.path.rstrip("/"))
    above = End(target.place, target.name, parent or ("/" if target.name else "."))
    if above.kind() != DIRECTORY or (target.path.endswith("/") and not is_tree):
        raise target.missing()
    return above.path, name
