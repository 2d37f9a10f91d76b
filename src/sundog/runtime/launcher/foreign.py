"""A container whose programs are those of another machine: an emulator runs them.

Nothing tells ``ch-run`` so before the image is mounted, and then its own user namespace is there,
which does not map 0.  So the emulator is registered in another one below, and the command is in a
third.  The compiled start leaves programs of another machine to this launcher.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.base.record.magic import ELF_MAGIC
from sundog.runtime.container.root_files import open_inside
from sundog.runtime.container.search_path import ENGINE_PATH
from sundog.runtime.launcher.part import Part
from sundog.runtime.process.executable import is_own_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sundog.runtime.container.binfmt import OpenEmulator
    from sundog.runtime.container.variables import Environment
    from sundog.runtime.launcher.part import MountedContainer

_SHELL = b"/bin/sh"
_HEAD = 64  # bytes: an ELF header


class ForeignPrograms(Part):
    """The emulator for the programs of the image, if they are of another machine."""

    __slots__ = ("_command", "_emulator", "_environment")

    def __init__(self, command: list[bytes], environment: Environment) -> None:
        """``command`` is that of the command line, perhaps empty.

        ``environment`` is the caller's, and has $CH_QEMU and $PATH.
        """
        super().__init__()
        self._command = command
        self._emulator: OpenEmulator | None = None
        self._environment = {name: environment.get(name) or b"" for name in (b"CH_QEMU", b"PATH")}

    def mounted(self, container: MountedContainer) -> None:
        """Look at one program of the image; find the emulator.  Raises SundogError."""
        command = self._command or container.image.command
        for path in _programs(command[0]):
            head = _head(container.directory, path)
            if not head.startswith(ELF_MAGIC):
                continue  # there is none, or it is a script
            if not is_own_program(head):
                self._emulator = _load_opened_emulator()(head, self._environment)
            return

    def entered(self) -> None:
        """Register the emulator, and move this process below that.  Raises SundogError."""
        if self._emulator is not None:
            self._emulator.register_above()


def _programs(name: bytes) -> Iterator[bytes]:
    """Yield paths of the image where a program may be, the command ``name`` or another one."""
    if name.startswith(b"/"):
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


def _load_opened_emulator() -> Callable[[bytes, dict[bytes, bytes]], OpenEmulator | None]:
    """Return the function that finds and opens an emulator.  Few starts load it."""
    from sundog.runtime.container.binfmt import opened_emulator

    return opened_emulator
