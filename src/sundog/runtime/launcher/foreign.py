"""The part of a start whose image has programs of another machine.

The compiled start leaves such programs to this launcher.
"""

from __future__ import annotations

from sundog.runtime.container.foreign import emulator_for
from sundog.runtime.launcher.part import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.binfmt import OpenEmulator
    from sundog.runtime.container.variables import Environment
    from sundog.runtime.launcher.part import MountedContainer


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
        self._emulator = emulator_for(container.directory, command[0], self._environment)

    def entered(self) -> None:
        """Register the emulator, and move this process below that.  Raises SundogError."""
        if self._emulator is not None:
            self._emulator.register_above()
