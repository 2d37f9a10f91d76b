"""Image references as values: ``[registry/]repository[:tag][@digest]``.

Specification: the grammar of the distribution project's ``reference`` package, which
``record.names`` implements for all of Sundog (``ch-run`` needs it too).  This module only names
the parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from sundog.base.record.names import DEFAULT_REGISTRY, split_reference
from sundog.image.oci.digest import Digest

_OFFICIAL_PREFIX = "library/"


@dataclass(frozen=True, slots=True)
class Reference:
    """A complete reference; ``tag`` or ``digest`` may be None, but never both."""

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference as people type it; raise ReferenceSyntaxError.

        ``alpine`` is ``docker.io/library/alpine:latest``.
        """
        registry, repository, tag, digest = split_reference(text)
        return cls(registry, repository, tag or None, Digest.parse(digest) if digest else None)

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    @property
    def canonical(self) -> str:
        """The canonical text: the same for all spellings of this reference."""
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.name}{tag}{digest}"

    @property
    def familiar(self) -> str:
        """The short text for people, without Docker Hub and its official namespace."""
        hub, _, text = self.canonical.partition(f"{DEFAULT_REGISTRY}/")
        if hub or not text:
            return self.canonical
        official = text.removeprefix(_OFFICIAL_PREFIX)
        return text if "/" in official else official

    @property
    def version(self) -> str:
        """The digest, or else the tag: what a registry is asked for in the repository."""
        return str(self.digest) if self.digest is not None else self.tag or ""

    def __str__(self) -> str:
        return self.canonical
