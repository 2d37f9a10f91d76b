"""COPY: files of the context, of another stage or of an image into the image."""

from __future__ import annotations

from dataclasses import dataclass

from sundog.build.keys import cache_key
from sundog.build.placement import copy_into
from sundog.build.sources import SourceTree
from sundog.build.tree_step import encoded
from sundog.errors import BuildError
from sundog.launcher.step import in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.build.context import BuildContext
    from sundog.build.sources import Source
    from sundog.store.drivers import Snapshot
    from sundog.store.store import Store


@dataclass(frozen=True, slots=True)
class CopyStep:
    """COPY: ``destination`` is absolute; ``directory`` as ``placement.copy_into`` wants it."""

    text: str
    sources: tuple[str, ...]
    destination: str
    directory: bool
    origin: ContextFiles | ImageFiles
    store: Store

    def key(self, layers: Sequence[str]) -> str:
        """Return the key: the destination, and what is copied."""
        fingerprint = self.origin.fingerprint(self.sources)
        return cache_key("copy", layers, self.destination, self.directory, fingerprint)

    def execute(self, snapshot: Snapshot) -> None:
        """Copy the files; raise BuildError if one is missing or does not fit."""
        try:
            self.origin.copy(
                self.sources, snapshot, encoded(self.destination), directory=self.directory
            )
        except OSError:
            with self.store.faults:
                raise


@dataclass(frozen=True, slots=True)
class ContextFiles:
    """Where COPY takes files from: the build context."""

    context: BuildContext

    def fingerprint(self, sources: Sequence[str]) -> str:
        """Return a digest of the files that ``sources`` name."""
        tree = self.context.tree()
        return tree.digest(tree.find(sources))

    def copy(
        self, sources: Sequence[str], snapshot: Snapshot, destination: bytes, *, directory: bool
    ) -> None:
        """Copy what ``sources`` name into a snapshot."""
        tree = self.context.tree()
        found = _checked(tree, sources, directory=directory)
        in_root(
            [snapshot.root],
            lambda roots: copy_into(tree, found, roots[0], destination, directory=directory),
        )


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Where COPY --from takes files from: an image, or a stage that is complete."""

    layers: tuple[str, ...]
    store: Store

    def fingerprint(self, sources: Sequence[str]) -> str:
        """Return the layers and the names: no file is read."""
        return cache_key("files", self.layers, tuple(sources))

    def copy(
        self, sources: Sequence[str], snapshot: Snapshot, destination: bytes, *, directory: bool
    ) -> None:
        """Copy what ``sources`` name into a snapshot."""

        def copy(roots: list[int]) -> None:
            tree = SourceTree.of_image(roots[1])
            found = _checked(tree, sources, directory=directory)
            copy_into(tree, found, roots[0], destination, directory=directory)

        root = self.store.driver.root(self.layers)
        in_root([snapshot.root, root], copy)


def _checked(tree: SourceTree, sources: Sequence[str], *, directory: bool) -> list[Source]:
    """Return what ``sources`` name; raise BuildError if it is too much for a file."""
    found = tree.find(sources)
    if len(found) > 1 and not directory:
        raise BuildError(
            f"several files match, and the destination is not a directory: {' '.join(sources)}",
            'end the destination with "/"',
        )
    return found
