"""``--build-context``: further contexts, by name: a directory, an archive, an image, an address.

Specification: the reference of ``docker buildx build``.
"""

from __future__ import annotations

import os
import stat

from sundog.errors import BuildError, UsageError
from sundog.image.builder.files.context import BuildContext, unpacked_context
from sundog.image.builder.tree_step import without_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.image.builder.files.context import NamedContext
    from sundog.image.builder.files.remote_context import RemoteContexts
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report

_IMAGE = "docker-image://"
_LAYOUT = "oci-layout://"
_URL_SIGNS = ("://", "@", "github.com/")


def is_elsewhere(source: str) -> bool:
    """Tell whether a source is the address of a context, and not a directory or a file here."""
    if not any(sign in source for sign in _URL_SIGNS):  # most are paths
        return False
    from sundog.image.builder.files.remote_context import is_remote  # seldom needed

    return is_remote(source)


def named_context(
    store: Store, text: str, report: Report, remotes: Callable[[], RemoteContexts]
) -> tuple[str, NamedContext]:
    """Return the name and the context that a ``--build-context`` gives.

    ``remotes`` fetches one from elsewhere.  Raises UsageError, BuildError, or ArchiveError for an
    archive.
    """
    name, equals, source = text.partition("=")
    if not name or not equals or not source:
        raise UsageError(
            f"--build-context: {text}: no name or no source", "write --build-context NAME=SOURCE"
        )
    if source.startswith(_IMAGE):
        return name, source.removeprefix(_IMAGE)
    option = f"--build-context {name}"
    if source.startswith(_LAYOUT):
        from sundog.image.convert.layout_image import LayoutImage  # seldom needed

        try:
            return name, LayoutImage.parse(source, store, report)
        except UsageError as error:
            raise UsageError(f"{option}: {error.message}", error.hint) from error
    if is_elsewhere(source):
        found = remotes().fetch(source, option).context
        if found is None:
            raise BuildError(
                f"{option}: not a tar archive: {without_user(source)}",
                "ADD copies a file from a URL",
            )
        return name, found
    if os.path.isdir(source):
        return name, BuildContext(source, option=option)
    try:
        fd = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with open(fd, "rb", buffering=0) as stream:
            is_file = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
            return name, unpacked_context(store, stream, option) if is_file else BuildContext(
                source, option=option
            )
    except OSError as error:
        raise UsageError(f"{option}: can't read {source}: {error.strerror}") from error
