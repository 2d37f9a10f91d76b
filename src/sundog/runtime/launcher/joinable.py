"""A container that exists already, and that the command of this process joins.

``join`` finds it.  Both modules are in a joined module of their own in the wheel.
"""

from __future__ import annotations

import os

from sundog.base.kernel.namespaces import CLONE_NEWNS, CLONE_NEWUSER, setns
from sundog.base.kernel.process import set_dumpable
from sundog.runtime.container.enter import forbid_imports
from sundog.runtime.launcher.image_choice import choose_image
from sundog.runtime.launcher.one_file import is_one_file, is_stored_name
from sundog.runtime.launcher.run_command import run_command
from sundog.runtime.launcher.sharing import Sharing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.launcher.image import Image
    from sundog.runtime.launcher.part import Part
    from sundog.runtime.launcher.request import Request


class Joinable(Sharing):
    """A container that processes share; ``may_begin`` tells whether this one may make it."""

    __slots__ = ("may_begin",)

    def __init__(self, *, may_begin: bool = True) -> None:
        super().__init__()
        self.may_begin = may_begin

    def run(self, request: Request, home: Part) -> int:
        """Run the command of ``request`` in the container, which exists.

        Looks at the image, and at its storage, only if the image must say what runs, or who:
        ``sundog exec`` says both.  Returns an exit status unless this process becomes the command.
        Raises SundogError and OSError.
        """
        line = request.line
        image, shown_image = None, None
        if is_one_file(request.word) and not is_stored_name(request.word, request.find_storage()):
            shown_image = _load_shown_image()
        elif self.may_begin and (len(line.operands) == 1 or self.channel is not None):
            image = choose_image(line, request.find_storage())
        self._enter()
        if shown_image is not None:
            image = shown_image(line.operands[0])
        prepared = request.companion.prepare(image, None, self.channel)
        temporary = request.temporary_directory()
        return run_command(request, image, prepared, [temporary, home])

    def _enter(self) -> None:
        """Enter the container; this process is then in its root directory.

        The process imports nothing afterwards, and must become the command.  Raises KernelError.
        """
        forbid_imports()
        set_dumpable(False)
        for fd, kind in zip(self.namespaces, (CLONE_NEWUSER, CLONE_NEWNS), strict=True):
            setns(fd, kind)
            os.close(fd)


def _load_shown_image() -> Callable[[bytes], Image]:
    """Return the function that reads an image that is one file, and is the root directory."""
    from sundog.runtime.launcher.file_server import shown_image

    return shown_image
