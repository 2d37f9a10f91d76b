"""The interface of RUN, COPY and WORKDIR, which change an image's files.

Each is a value.  It computes its cache key without touching an image, and it runs on a snapshot of
an image.  The executor makes its changes to the configuration.
"""

from __future__ import annotations

import posixpath
import re
from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.builder.keys import StepKey
    from sundog.image.store.drivers import Snapshot


def encoded(text: str) -> bytes:
    """Return text of a Dockerfile, or of an image's configuration, as its original bytes."""
    return text.encode("utf-8", "surrogateescape")


def decoded(data: bytes) -> str:
    """Return bytes as text that ``encoded`` makes the same bytes of."""
    return data.decode("utf-8", "surrogateescape")


def absolute(path: str, working_dir: str = "/") -> str:
    """Return an absolute path in the image, without ``..``."""
    return "/" + posixpath.normpath(posixpath.join("/", working_dir, path)).lstrip("/")


def without_user(address: str) -> str:
    """Return an address for messages and histories, without a URL's name and password."""
    return re.sub(r"^([A-Za-z]+://)[^/?#]*@", r"\1", address)


class TreeStep(Protocol):
    """The part of such an instruction that the executor knows."""

    @property
    def text(self) -> str:
        """The instruction's text for the output and the history."""

    @property
    def is_bare(self) -> bool:
        """Tell whether the image gets no mount points but its own, as nothing runs in it."""

    @property
    def is_independent(self) -> bool:
        """Tell whether the step ignores the files below (COPY --link): an empty image will do."""

    @property
    def is_discarded(self) -> bool:
        """Tell whether the image keeps nothing of what the step changes."""

    def key(self, layers: Sequence[str]) -> StepKey:
        """Return its cache key on top of ``layers``."""

    def execute(self, snapshot: Snapshot) -> None:
        """Run the step; raise BuildError if it fails."""


class PlainStep:
    """The answers of most kinds of step: nothing runs in it, and its changes to the files stay."""

    __slots__ = ()

    @property
    def is_bare(self) -> bool:
        """Return True."""
        return True

    @property
    def is_independent(self) -> bool:
        """Return False."""
        return False

    @property
    def is_discarded(self) -> bool:
        """Return False."""
        return False
