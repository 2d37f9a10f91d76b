"""%files: files of the host, or of an earlier stage, as cp(1) copies them.

Specification: Apptainer's user guide, “%files”: symlinks of the host are followed, those of a stage
are kept.  A pattern's matches go each to the destination.  As of ``cp -r``, a directory goes into a
directory that exists, and becomes the destination otherwise.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass

from sundog.errors import BuildError, DockerfileError
from sundog.image.builder.files.copy import image_tree
from sundog.image.builder.files.sources import SourceTree
from sundog.image.builder.keys import FILES, IMAGE, Part, Stack
from sundog.image.builder.tree_step import absolute, encoded
from sundog.image.dockerfile.wildcard import has_wildcard, literal_pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.image.builder.files.content import Source
    from sundog.image.builder.files.copy import Site
    from sundog.image.builder.keys import Field
    from sundog.image.definition.values import FilePair
    from sundog.image.store.store import Store
    from sundog.runtime.container.root import Root

    # Makes the error of a message and a hint for a line.
    Located = Callable[[str, str, int], DockerfileError]


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Lines of %files; sources are relative to ``directory``, destinations to ``base``."""

    pairs: tuple[FilePair, ...]
    directory: str
    base: str
    located: Located

    def find(self, tree: SourceTree, pair: FilePair) -> list[Source]:
        """Return the files that a line names; raise DockerfileError if there are none."""
        pattern = pair.source
        if not pattern.startswith("/"):
            pattern = posixpath.join(literal_pattern(self.directory), pattern)
        try:
            found = tree.find([pattern])
        except BuildError as error:
            hint = f"paths are relative to {self.directory}"
            raise self.located(error.message, hint, pair.line) from error
        if not found:
            raise self.located(f"no file matches {pair.source}", "", pair.line)
        return found

    def place(self, tree: SourceTree, site: Site) -> None:
        """Copy the files of all lines."""
        for pair in self.pairs:
            found = self.find(tree, pair)
            try:
                for source in found:
                    self._place(tree, site, pair, source, is_alone=len(found) == 1)
            except BuildError as error:
                raise self.located(error.message, error.hint, pair.line) from error

    def _place(
        self, tree: SourceTree, site: Site, pair: FilePair, source: Source, *, is_alone: bool
    ) -> None:
        text = pair.destination
        if not text:
            text = os.fsdecode(source.path) if has_wildcard(pair.source) else pair.source
        destination = encoded(absolute(text.lstrip("/"), self.base))
        into = bool(pair.destination) and (pair.destination.endswith("/") or not is_alone)
        if not tree.is_directory(source):
            site.placer.place(tree, [source], destination, directory=into)
            return
        if pair.destination and not into:
            there = site.placer.open_directory(destination)
            if there is not None:
                os.close(there)
            into = there is not None
        if into:
            destination = os.path.join(destination, source.name)
        site.placer.place(tree, [source], destination, directory=False)


@dataclass(frozen=True, slots=True)
class HostFiles:
    """Files of the host."""

    pairs: _Pairs

    @classmethod
    def of(cls, pairs: Sequence[FilePair], base: str, located: Located) -> HostFiles:
        """Return the files that lines name, from the working directory."""
        return cls(_Pairs(tuple(pairs), os.getcwd(), base, located))

    def fingerprint(self) -> Field:
        """Return digests of the files, with their destinations."""
        tree = _host_tree()
        prints: list[Field] = []
        for pair in self.pairs.pairs:
            found = self.pairs.find(tree, pair)
            names = tuple(source.name for source in found)
            try:
                digest = Part(FILES, "", tree.contents(found))
            except BuildError as error:
                raise self.pairs.located(error.message, error.hint, pair.line) from error
            prints.append((pair.source, pair.destination, names, digest))
        return ["files of the host", self.pairs.base, prints]

    def prepare(self) -> None:
        """Return None."""

    def place(self, site: Site) -> None:
        """Copy the files."""
        self.pairs.place(_host_tree(), site)


@dataclass(frozen=True, slots=True)
class StageFiles:
    """Files of an earlier stage, which is ``layers``."""

    pairs: _Pairs
    layers: tuple[str, ...]
    store: Store

    @classmethod
    def of(
        cls, pairs: Sequence[FilePair], layers: tuple[str, ...], store: Store, located: Located
    ) -> StageFiles:
        """Return the files that lines name, from the root of the stage."""
        return cls(_Pairs(tuple(pairs), "/", "/", located), layers, store)

    def fingerprint(self) -> Field:
        """Return the layers and the names; this reads no file."""
        names: list[Field] = [(pair.source, pair.destination) for pair in self.pairs.pairs]
        return ["files of a stage", Part(IMAGE, "", Stack(self.layers)), names]

    def prepare(self) -> Root:
        """Return the stage's image."""
        return self.store.driver.root(self.layers)

    def place(self, site: Site) -> None:
        """Copy the files."""
        with image_tree(self.layers, self.store, site.image) as tree:
            self.pairs.place(tree, site)


def _host_tree() -> SourceTree:
    return SourceTree.of_host(os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
