"""The image of ``ch-run``: found, and mounted with all that belongs to its container."""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.libc import printable
from sundog.errors import KernelError, SundogError
from sundog.runtime.container.missing_points import add_missing_points
from sundog.runtime.container.paths import OPEN_DIRECTORY
from sundog.runtime.launcher.image_choice import choose_image
from sundog.runtime.launcher.part import MountedContainer
from sundog.runtime.launcher.run_plan import build_plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.runtime.container.hidden import Hidden
    from sundog.runtime.container.operations import Operation
    from sundog.runtime.container.overlay_directories import OverlayDirectory
    from sundog.runtime.container.root import Root
    from sundog.runtime.launcher.image import Image
    from sundog.runtime.launcher.messages import Messages
    from sundog.runtime.launcher.options import CommandLine
    from sundog.runtime.launcher.storage import Storage


def use_mount_point(path: bytes | None, image: Image | None, messages: Messages) -> None:
    """Show the ``image`` that is one file at --mount, too: in the container's namespaces only."""
    if path is None:
        return
    if image is None:
        messages.warning("--mount invalid with directory image, ignoring")
        return
    shown = printable(path)
    try:
        os.close(os.open(path, OPEN_DIRECTORY))
    except NotADirectoryError:
        raise SundogError(f"not a directory: {shown}", "--mount takes a directory") from None
    except OSError as error:
        raise SundogError(
            f"can't stat mount point: {shown}: {error.strerror}", "make the directory: mkdir"
        ) from None
    image.root.show(path)


def overlaid(
    root: Root, given: Sequence[tuple[bytes, bool]], hidden: Hidden
) -> tuple[Root, Sequence[OverlayDirectory]]:
    """Return ``root`` with the directories of --overlay on top, and these; few starts have any."""
    if not given:
        return root, ()
    from sundog.runtime.container.overlay_directories import overlaid_root

    return overlaid_root(root, given, hidden.places)


def mount_image(
    line: CommandLine,
    storage: Storage,
    mounts: Sequence[Operation],
    hidden: Hidden,
    given: Image | None = None,
) -> MountedContainer:
    """Find the image of ``line`` in ``storage``; mount it, and take hold of all ``mounts``.

    ``given`` is the image if it is one file.  No bind shows what is ``hidden``.
    """
    messages = line.messages
    for _ in range(2):
        image = None
        try:
            image = choose_image(line, storage, given)
            root, overlays = overlaid(image.root, line.image.overlays, hidden)
            plan = build_plan(root, mounts, hidden, line.image, overlays)
            if messages.verbosity >= 2:
                for text in plan.describe():
                    messages.debug(text)
            directory, operations = plan.mount(messages.verbose, messages.warning)
            if line.image.stays_as_it_is:
                directory = add_missing_points(
                    root, directory, plan.scratch, operations, messages.verbose
                )
            return MountedContainer(image, plan, directory, operations)
        except (KernelError, FileNotFoundError) as error:
            stored = image is None or image.named
            if not stored or error.errno not in (errno.ENOENT, errno.ESTALE):
                raise
            # Another process may have replaced the image during the search.  Then a second search
            # finds the new image.
    raise SundogError(
        f"image in storage is damaged: {printable(line.operands[0])}: files of a layer are missing",
        "import or build it again; a program that cleans /var/tmp may have deleted them",
    )
