"""RSYNC: the host's rsync copies files of the build context into the image.

Specification: Charliecloud's documentation, “RSYNC”.  rsync sees nothing but the context and the
image: see ``confined``.  It lists what it would transfer to an empty directory, and the contents of
these files decide about the build cache.  All files that it transfers belong to root, as with COPY.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import zlib
from dataclasses import dataclass, field

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import RESOLVE_IN_ROOT, openat2
from sundog.base.record.owners import OwnerRecord
from sundog.errors import BuildError, KernelError
from sundog.image.builder.files.confined import (
    EMPTY,
    find_program,
    read_only_tree,
    run_confined,
    writable_tree,
)
from sundog.image.builder.files.content import Source
from sundog.image.builder.files.directories import make_directories
from sundog.image.builder.files.placement import Placer
from sundog.image.builder.files.sources import SourceTree
from sundog.image.builder.keys import FILES, NOTED, Contents, Part, digest_of, step_key
from sundog.image.builder.tree_step import PlainStep, encoded
from sundog.image.layer.inherit import StepOwners
from sundog.image.layer.known_records import KnownRecords
from sundog.runtime.container.root import DirectoryRoot
from sundog.runtime.steps.step import in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sundog.errors import DockerfileError, SundogError
    from sundog.image.builder.files.context import BuildContext
    from sundog.image.builder.keys import Field, StepKey
    from sundog.image.dockerfile.rsync_options import RsyncOptions
    from sundog.image.store.drivers import Snapshot
    from sundog.image.store.store import Store

_CONTEXT, _IMAGE = b"context", b"image"
# rsync prints for each file: the kind of change, the mode, the name, the source, the link.
_COLUMNS = "%i\t%B\t%n\t%f\t%L"
# Extended attributes that leave the context are those of COPY.
_BEFORE = ("--filter=-x user.overlay.*",)
_AFTER = (
    *("--filter=+x user.*", "--filter=+x security.capability", "--filter=-x *"),
    *("--no-owner", "--no-group", "--no-devices", "--no-owner", f"--out-format={_COLUMNS}"),
)
_CHANGE = re.compile(rb"[<>ch.][fdLDS]")  # the first column for a file
_KINDS = {"f": "f", "d": "d", "L": "l", "S": "p"}
_ESCAPED = re.compile(rb"\\#([0-7]{3})")
_REMOTE_HINT = "RSYNC copies from the build context"


@dataclass(frozen=True, slots=True)
class _Item:
    """A file that rsync transfers: its name in the destination, and its path in the context."""

    change: str
    mode: str
    name: bytes
    path: bytes
    link: bytes

    @property
    def kind(self) -> str:
        """The kind of the copy, as in ``OwnerRecord``; "" for one that is only touched."""
        return _KINDS.get(self.change[1], "") if self.change[0] in "<>ch" else ""


@dataclass
class RsyncStep(PlainStep):
    """RSYNC: ``destination`` is absolute; with ``directory``, it is a directory.

    ``located`` turns an error into one that shows the place in the Dockerfile.
    """

    text: str
    context: BuildContext
    sources: tuple[str, ...]
    destination: str
    directory: bool
    options: RsyncOptions
    store: Store
    located: Callable[[SundogError], DockerfileError]
    _visible: bytes = field(default=b"", init=False)

    def key(self, layers: Sequence[str]) -> StepKey:
        """Return the key: the options, the destination and what rsync would transfer."""
        try:
            found = self._listed(layers)
            return step_key(
                "rsync", layers, self.options.all, self.sources, self.destination, found
            )
        except BuildError as error:
            raise self.located(error) from error

    def execute(self, snapshot: Snapshot) -> None:
        """Run rsync; raise DockerfileError if it fails."""
        try:
            packed = in_root([snapshot.root], lambda roots: self._transfer(roots[0]).pack())
        except BuildError as error:
            raise self.located(error) from error
        except OSError:
            with self.store.faults:
                raise
        snapshot.owners = StepOwners(KnownRecords.unpack(packed))

    def _transfer(self, root: int) -> KnownRecords:
        """Run rsync in the namespaces of ``in_root``; return the owners of what it made."""
        place = self._place(root)
        trees = {_CONTEXT: read_only_tree(self._context()), _IMAGE: writable_tree(root)}
        output = self._run(trees, b"/%b/%b" % (_IMAGE, place))
        return KnownRecords.of(dict(_records(root, place.rstrip(b"/"), list(_items(output)))))

    def _place(self, root: int) -> bytes:
        """Return the destination below the root without symlinks, with a slash for a directory."""
        path = encoded(self.destination)
        try:
            is_directory = self.directory or len(self._words()) > 1 or _is_directory(root, path)
        except KernelError as error:
            raise BuildError(f"can't copy to {printable(path)}: {error.message}") from error
        directory, name = (path, b"") if is_directory else os.path.split(path)
        with Closing(make_directories(root, directory)) as fd:
            return os.path.join(_canonical(root, fd), name)

    def _listed(self, layers: Sequence[str]) -> Field:
        """Return a digest of the files that rsync would transfer to an empty directory."""
        roots = [self.store.driver.root(layers)] if self.options.needs_image else []
        context = self._context()

        def list_files(fds: list[int]) -> bytes:
            trees = {_CONTEXT: read_only_tree(context)}
            if fds:
                trees[_IMAGE] = writable_tree(fds[0])
            return self._run(trees, b"/%b/" % EMPTY, for_listing=True)

        output = in_root(roots, list_files)
        with Closing(os.open(context, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
            tree = SourceTree.of_context(fd)
            prints = [(item.path, self._fingerprint(tree, item)) for item in _items(output)]
        noted = {path: zlib.crc32(digest_of(each).encode()) for path, each in prints[:NOTED]}
        digest = digest_of([each for _, each in prints])
        return Part(FILES, "", Contents(digest, noted, len(noted) == len(prints)))

    def _fingerprint(self, tree: SourceTree, item: _Item) -> Field:
        """Return what a transferred file depends on; raise BuildError for one outside."""
        facts: list[Field] = [item.change[1], item.mode, item.name, item.link]
        if item.kind not in ("f", "d"):
            return facts
        with Closing(tree.open(item.path)) as fd:
            info = os.fstat(fd)
        if stat.S_ISREG(info.st_mode):
            facts.append(tree.digest([Source(item.path, b"")]))
        if self.options.uses_times:
            facts.append(info.st_mtime_ns)
        return facts

    def _words(self) -> list[bytes]:
        """Return the sources as rsync takes them; patterns are replaced by what they match."""
        tree = self.context.tree()
        words = []
        for source in self.sources:
            if ":" in source:
                raise BuildError(f"SSH and rsync transports not supported: {source}", _REMOTE_HINT)
            slash = b"/" if source.endswith(("/", "/.")) or source in (".", "") else b""
            words += [b"./" + found.path + slash for found in tree.find([source])]
        return words

    def _context(self) -> bytes:
        """Return the directory that rsync sees: a copy if an ignore file leaves files out."""
        tree = self.context.tree()
        if not self.context.ignore_file():
            return os.fsencode(os.path.abspath(self.context.path or ""))
        if not self._visible:
            with self.store.faults:
                scratch = self.store.scratch.new()
            found = tree.find(["."])

            def place(fds: list[int]) -> None:
                Placer(fds[0]).place(tree, found, b"/files", directory=False)

            in_root([DirectoryRoot(scratch)], place)
            self._visible = os.path.join(scratch, b"files")
        return self._visible

    def _run(
        self, trees: dict[bytes, int], destination: bytes, *, for_listing: bool = False
    ) -> bytes:
        """Run rsync; return its output.  Raises BuildError if it fails."""
        program = find_program("rsync", "RSYNC", "install rsync, version 3.1 or later; or use COPY")
        options = self.options.arguments(
            f"/{_CONTEXT.decode()}", f"/{_IMAGE.decode()}", for_listing=for_listing
        )
        argv = [
            os.fsencode(program),
            *(encoded(word) for word in (*_BEFORE, *options, *_AFTER)),
            *([b"--dry-run"] if for_listing else []),
            b"--",
            *self._words(),
            destination,
        ]
        status, output, errors = run_confined(argv, trees, b"/" + _CONTEXT)
        if status:
            raise BuildError(f"rsync failed with status {status}: {_reason(errors)}")
        return output


def _items(output: bytes) -> Iterator[_Item]:
    """Read what rsync printed; other lines are messages.

    Raises BuildError for a name with a tab, which rsync does not escape.
    """
    for line in output.splitlines():
        columns = line.split(b"\t")
        if len(columns) > _COLUMNS.count("\t") + 1 and _CHANGE.match(columns[0]):
            raise BuildError(
                f"RSYNC can't copy a name with a tab: {printable(b'?'.join(columns[2:]))}",
                "rename the file, or leave it out with --exclude",
            )
        if len(columns) == _COLUMNS.count("\t") + 1 and not columns[0].startswith(b"*"):
            change, mode, *names = columns
            yield _Item(
                change.decode("latin-1"), mode.decode("latin-1"), *map(_without_escapes, names)
            )


def _without_escapes(name: bytes) -> bytes:
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), name)


def _records(
    root: int, place: bytes, items: Sequence[_Item]
) -> Iterator[tuple[bytes, OwnerRecord]]:
    """Yield the owner of each file that rsync made: root."""
    is_directory = _is_directory(root, place)
    for item in items:
        if item.kind:
            name = item.name.removeprefix(b"./").strip(b"/")
            path = os.path.join(place, name) if is_directory else place
            if path.rstrip(b"/.") or item.kind != "d":
                yield path.removesuffix(b"/.").strip(b"/"), OwnerRecord(item.kind)


def _is_directory(root: int, path: bytes) -> bool:
    try:
        os.close(openat2(root, path or b".", os.O_PATH | os.O_DIRECTORY, RESOLVE_IN_ROOT))
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
        raise
    return True


def _canonical(root: int, fd: int) -> bytes:
    """Return the path of an open directory below the root, without symlinks."""
    prefix = os.readlink(b"/proc/self/fd/%d" % root).rstrip(b"/")
    return os.readlink(b"/proc/self/fd/%d" % fd)[len(prefix) :].strip(b"/")


def _reason(errors: bytes) -> str:
    """Return the most informative line of rsync's errors."""
    lines = errors.decode("utf-8", "replace").strip().splitlines() or ["no reason"]
    return next((line for line in lines if not line.startswith("rsync error: ")), lines[-1])
