"""What RUN, COPY and WORKDIR have in common: they change an image's files.

Each is a value that tells its cache key without touching an image, and is carried out on a snapshot
of one.  What they add to the configuration is the executor's business.
"""

from __future__ import annotations

import posixpath
import re
from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.store.drivers import Snapshot


def encoded(text: str) -> bytes:
    """Return text of a Dockerfile, or of an image's configuration, as the bytes that it was."""
    return text.encode("utf-8", "surrogateescape")


def decoded(data: bytes) -> str:
    """Return bytes as text that ``encoded`` makes the same bytes of."""
    return data.decode("utf-8", "surrogateescape")


def absolute(path: str, working_dir: str = "/") -> str:
    """Return a path in the image from its root on, without ``..``."""
    return "/" + posixpath.normpath(posixpath.join("/", working_dir, path)).lstrip("/")


def without_user(address: str) -> str:
    """Return an address for messages and histories, without a URL's name and password."""
    return re.sub(r"^([A-Za-z]+://)[^/?#]*@", r"\1", address)


class TreeStep(Protocol):
    """What the executor knows of such an instruction."""

    @property
    def text(self) -> str:
        """The instruction as it is announced and recorded."""

    @property
    def is_bare(self) -> bool:
        """Whether the image has no mount points but its own: nothing is run in it."""

    @property
    def is_independent(self) -> bool:
        """Whether the files of the image below are of no account: then it is done without them."""

    def key(self, layers: Sequence[str]) -> str:
        """Return its cache key on top of ``layers``."""

    def execute(self, snapshot: Snapshot) -> None:
        """Do it; raise BuildError if it fails."""
