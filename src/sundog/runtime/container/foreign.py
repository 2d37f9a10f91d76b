"""The test for an image whose programs are those of another machine, which an emulator runs.

Nothing tells that before the image is mounted, and then the container's user namespace is there,
which need not map 0.  So the emulator is registered in another one below, and the command is in a
third: ``binfmt.OpenEmulator.register_above``.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.base.record.magic import ELF_MAGIC
from sundog.runtime.container.root_files import open_inside
from sundog.runtime.container.search_path import ENGINE_PATH
from sundog.runtime.process.executable import is_own_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sundog.runtime.container.binfmt import OpenEmulator

_SHELL, _PROGRAMS = b"/bin/sh", b"/usr/bin/"
_HEAD = 64  # bytes: an ELF header


def emulator_for(
    root: int, command: bytes, environment: Mapping[bytes, bytes]
) -> OpenEmulator | None:
    """Return the emulator for the image in the directory ``root``; None if it needs none.

    Looks at one program: the ``command`` if it is where most are, which a start reads anyway; else
    the shell.  ``environment`` has $CH_QEMU and $PATH.  Call it as ``binfmt.opened_emulator``.
    Raises SundogError.
    """
    for path in _programs(command):
        head = _head(root, path)
        if head.startswith(ELF_MAGIC):  # else there is none, or it is a script
            own = is_own_program(head)
            return None if own else _load_opened_emulator()(head, environment)
    return None


def _programs(name: bytes) -> Iterator[bytes]:
    """Yield paths of the image where a program may be, the command ``name`` or another one."""
    if b"/" not in name:
        yield _PROGRAMS + name
    elif name.startswith(b"/"):
        yield name
    yield _SHELL
    if b"/" not in name:
        for directory in ENGINE_PATH.split(":"):
            yield directory.encode() + b"/" + name


def _head(root: int, path: bytes) -> bytes:
    """Return how the file ``path`` of the image begins, b"" if there is none."""
    try:
        fd = open_inside(root, path)
        if fd < 0:
            return b""
        with Closing(fd):
            return os.read(fd, _HEAD)
    except OSError:
        return b""


def _load_opened_emulator() -> Callable[[bytes, Mapping[bytes, bytes]], OpenEmulator | None]:
    """Return the function that finds and opens an emulator.  Few starts load it."""
    from sundog.runtime.container.binfmt import opened_emulator  # noqa: PLC0415

    return opened_emulator
