"""COPY and ADD: copy files of a context, an image, the Dockerfile or the network into the image.

Specification: the Dockerfile reference, COPY and ADD.  Each source is an ``Origin``.  It knows what
its files depend on, and gives them to a ``Placer``.  The modules ``download``, ``git_source`` and
``archive`` have the origins of ADD alone.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from sundog.base.kernel.files import Closing
from sundog.errors import ArchiveError, BuildError
from sundog.image.builder.files.placement import Attributes, Placer
from sundog.image.builder.files.sources import SourceTree
from sundog.image.builder.keys import FILES, IMAGE, OTHER, Part, Stack, digest_of, step_key
from sundog.image.builder.tree_step import PlainStep, encoded
from sundog.image.layer.below import Below, LayerTree
from sundog.image.layer.inherit import StepOwners
from sundog.image.layer.known_records import KnownRecords
from sundog.runtime.steps.step import in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sundog.base.record.owners import OwnerRecord
    from sundog.errors import DockerfileError, SundogError
    from sundog.image.builder.files.chmod import ModeChange
    from sundog.image.builder.files.chown import OwnerText
    from sundog.image.builder.files.content import Source
    from sundog.image.builder.files.context import BuildContext
    from sundog.image.builder.keys import Field, StepKey
    from sundog.image.builder.report import Report
    from sundog.image.store.drivers import Snapshot
    from sundog.image.store.store import Store
    from sundog.runtime.container.root import Root

_HEREDOC_MODE = 0o644


@dataclass
class Site:
    """The place where an origin puts its files, and the things that it may use on the way.

    ``directory`` says that the destination is a directory.  ``image`` is the root of the origin's
    own image.  ``scratch`` is a directory for files that the origin has to make first.
    """

    placer: Placer
    destination: bytes
    directory: bool
    scratch: bytes
    image: int = -1
    _several: bool = field(default=False, init=False)
    _files: bool = field(default=False, init=False)

    def put(self, tree: SourceTree, found: Sequence[Source], *, replace: bool = False) -> None:
        """Copy ``found`` to the destination; raise BuildError for several files onto one file."""
        for source in found:
            self._files |= not tree.is_directory(source)
            if self._files and self._several and not self.directory:
                raise BuildError(
                    "several files match, and the destination is not a directory",
                    'end the destination with "/"',
                )
            self._several = True
        self.placer.place(tree, found, self.destination, directory=self.directory, replace=replace)


class Origin(Protocol):
    """A source of files."""

    def fingerprint(self) -> Field:
        """Return the value that the files depend on; raise SundogError if it can't be found out."""

    def prepare(self) -> Root | None:
        """Get ready to place the files; return the image that they are in, or None."""

    def place(self, site: Site) -> None:
        """Put the files into their places; call this in the namespaces of ``in_root``."""


@dataclass(frozen=True, slots=True)
class CopyStep(PlainStep):
    """COPY or ADD: ``destination`` is absolute; with ``directory``, it is a directory.

    With ``link`` (``--link``), the step ignores the files of the image.  ``located``
    turns an error into one that shows the place in the Dockerfile.
    """

    text: str
    origins: tuple[Origin, ...]
    destination: str
    directory: bool
    owner: OwnerText | None
    mode: ModeChange | None
    link: bool
    store: Store
    located: Callable[[SundogError], DockerfileError]

    @property
    def is_independent(self) -> bool:
        """Tell whether the files below don't matter."""
        return self.link

    def key(self, layers: Sequence[str]) -> StepKey:
        """Return the key: the destination and the files to copy."""
        owner = (self.owner.user, self.owner.group) if self.owner else None
        mode = (self.mode.octal, self.mode.actions) if self.mode else None
        try:
            prints = [origin.fingerprint() for origin in self.origins]
        except (BuildError, ArchiveError) as error:
            raise self.located(error) from error
        return step_key("copy", layers, self.destination, self.directory, owner, mode, prints)

    def execute(self, snapshot: Snapshot) -> None:
        """Copy the files; raise DockerfileError if one is missing or does not fit."""
        roots = [snapshot.root]
        images = []
        scratch = self.store.scratch.new()
        try:
            for origin in self.origins:
                root = origin.prepare()
                images.append(0 if root is None else len(roots))
                roots += [] if root is None else [root]
            packed = in_root(roots, lambda fds: self._place(fds, images, scratch).pack())
            snapshot.owners = StepOwners(KnownRecords.unpack(packed))
        except (BuildError, ArchiveError) as error:
            raise self.located(error) from error
        except OSError:
            with self.store.faults:
                raise
        finally:
            self.store.scratch.dispose(scratch)

    def _place(self, fds: list[int], images: list[int], scratch: bytes) -> KnownRecords:
        owner = self.owner.resolve(fds[0]) if self.owner else None
        placer = Placer(fds[0], Attributes(owner, self.mode))
        site = Site(placer, encoded(self.destination), self.directory, scratch)
        for origin, image in zip(self.origins, images, strict=True):
            site.image = fds[image]
            origin.place(site)
        return placer.records


@dataclass(frozen=True, slots=True)
class ContextFiles:
    """Files of a build context."""

    context: BuildContext
    sources: tuple[str, ...]
    report: Report
    excludes: tuple[str, ...] = ()
    parents: bool = False

    def find(self) -> list[Source]:
        """Return the files that the sources name."""
        return self.context.tree().find(self.sources, excluded=self.excludes, parents=self.parents)

    def fingerprint(self) -> Field:
        """Return a digest of the files; warn if there are none."""
        found = self.find()
        if not found:
            self.report.warning(f"nothing to copy: no file matches {' '.join(self.sources)}")
        return Part(FILES, "", self.context.tree().contents(found))

    def prepare(self) -> None:
        """Return None."""

    def place(self, site: Site) -> None:
        """Copy the files."""
        site.put(self.context.tree(), self.find())


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Files of an image, or of a finished stage."""

    layers: tuple[str, ...]
    store: Store
    sources: tuple[str, ...]
    excludes: tuple[str, ...] = ()
    parents: bool = False

    def fingerprint(self) -> Field:
        """Return the layers and the names; this reads no file."""
        layers = Part(IMAGE, "", Stack(self.layers))
        return ("image", layers, self.sources, self.excludes, self.parents)

    def prepare(self) -> Root:
        """Return the image."""
        return self.store.driver.root(self.layers)

    def place(self, site: Site) -> None:
        """Copy the files; keep their owners."""
        with image_tree(self.layers, self.store, site.image) as tree:
            site.put(tree, tree.find(self.sources, excluded=self.excludes, parents=self.parents))


@contextmanager
def image_tree(layers: Sequence[str], store: Store, root: int) -> Iterator[SourceTree]:
    """Give the files of an image, whose root is open as ``root``, with their owners."""
    with Below([LayerTree.read(path) for path in store.layers.paths(layers)]) as view:
        yield SourceTree.of_image(root, _LayerRecords(view))


@dataclass(frozen=True, slots=True)
class _LayerRecords:
    """The records of an image's layers, as ``sources.Records``."""

    view: Below

    def record(self, path: bytes) -> OwnerRecord | None:
        """Return the part of a record that a copy of the entry at a canonical path keeps."""
        found = self.view.lookup(path)
        return found.handed_down() if found else None


@dataclass(frozen=True, slots=True)
class Documents:
    """Heredocs: pairs of a name and a text."""

    texts: tuple[tuple[str, str], ...]

    def fingerprint(self) -> Field:
        """Return a digest of the texts."""
        return Part(OTHER, "the text of a heredoc", digest_of(("heredocs", self.texts)))

    def prepare(self) -> None:
        """Return None."""

    def place(self, site: Site) -> None:
        """Write the texts; only the last component of a name counts."""
        for number, (name, text) in enumerate(self.texts):
            directory = os.path.join(site.scratch, b"%d" % number)
            os.mkdir(directory)
            path = os.path.join(directory, os.path.basename(encoded(name)))
            with open(path, "wb") as file:
                file.write(encoded(text))
                os.fchmod(file.fileno(), _HEREDOC_MODE)
            put_file(site, path)


def put_file(site: Site, path: bytes) -> None:
    """Copy a file of the host that was made for this purpose, under its own name."""
    directory, name = os.path.split(path)
    with Closing(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
        tree = SourceTree.of_context(fd)
        site.put(tree, tree.literal(name))
