"""The mounts of a RUN: their part of its cache key, and the mounts themselves.

Specification: the Dockerfile reference, “RUN --mount” and its sections.  The key has the contents
of a mount of files.  For a secret, an agent or a cache directory, the key has only the way of
mounting.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from sundog.base.kernel.mounts import RESOLVE_IN_ROOT, openat2
from sundog.base.record.owners import OwnerRecord
from sundog.errors import BuildError
from sundog.image.builder.files.placement import Placer
from sundog.image.builder.keys import FILES, IMAGE, MOUNT, Part, cache_key, step_key
from sundog.image.builder.run.heredoc_command import SCRIPT_DIRECTORY
from sundog.image.builder.tree_step import encoded
from sundog.image.dockerfile.mounts import BIND, CACHE, SECRET, SSH, TMPFS
from sundog.image.dockerfile.wildcard import literal_pattern
from sundog.image.layer.flatten import copy_tree
from sundog.image.store.cache_mounts import CacheRequest
from sundog.runtime.container.mounted_tree import MountedTree
from sundog.runtime.container.operations import (
    CREATED,
    DESIRED,
    Bind,
    DetachedMount,
    FileMount,
    TmpfsMount,
)
from sundog.runtime.container.root import DirectoryRoot, OverlayRoot
from sundog.runtime.steps.mounts import TreeMount
from sundog.runtime.steps.step import in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Protocol

    from sundog.base.record.layer_path import LayerPath
    from sundog.base.record.owners import OwnersManifest
    from sundog.image.builder.files.context import BuildContext
    from sundog.image.builder.keys import Field
    from sundog.image.builder.options import RunOptions
    from sundog.image.builder.report import Report
    from sundog.image.builder.run.devices import RunDevices
    from sundog.image.builder.run.heredoc_command import Script
    from sundog.image.dockerfile.mounts import Mount
    from sundog.image.store.cache_mounts import CacheMount
    from sundog.image.store.store import Store
    from sundog.runtime.container.root import Root

    class MountOrigin(Protocol):
        """The source of a mount's files."""

        def fingerprint(self, path: str) -> Field: ...  # noqa: D102
        def view(self, path: str, scratch: bytes, *, writable: bool) -> View: ...  # noqa: D102
        def recorded(self) -> Sequence[LayerPath]: ...  # noqa: D102


_SECRETS = "/run/secrets/"
_AGENTS = "/run/buildkit/ssh_agent."
_SECRET_MODE = 0o400
_SCRIPT_MODE = 0o755


@dataclass(frozen=True, slots=True)
class View:
    """Files at ``path`` in a root; with ``is_copy``, one mount alone uses them."""

    root: Root
    path: str
    is_copy: bool = False


@dataclass(frozen=True, slots=True)
class ContextOrigin:
    """The files of a build context; if not ``overlays``, a writable mount gets a copy."""

    context: BuildContext
    overlays: bool

    def fingerprint(self, path: str) -> Field:
        """Return a digest of what is at ``path``; raise BuildError if nothing is there."""
        tree = self.context.tree()
        return Part(FILES, "", tree.contents(tree.find([_pattern(path)])))

    def view(self, path: str, scratch: bytes, *, writable: bool) -> View:
        """Return the place of the files that ``path`` names.

        That is the context's directory.  If an ignore file excludes something, it is a copy of the
        rest in ``scratch``.  If other users' files are to be ``writable``, it is a copy, too: an
        overlay can't copy them up, because their owner is not mapped in the container.
        """
        tree = self.context.tree()
        found = tree.find([_pattern(path)])
        is_copied = writable and (not self.overlays or tree.has_others_files(found))
        if not is_copied and not self.context.ignore_file():
            return View(DirectoryRoot(os.fsencode(os.path.abspath(self.context.path or ""))), path)
        copy = DirectoryRoot(scratch)

        def place(fds: list[int]) -> None:
            Placer(fds[0]).place(tree, found, b"/files", directory=False)

        in_root([copy], place)
        return View(copy, "files", is_copy=True)

    def recorded(self) -> Sequence[LayerPath]:
        """Return (): root owns all files."""
        return ()


@dataclass(frozen=True, slots=True)
class ImageOrigin:
    """The files of an image, or of a finished stage."""

    layers: tuple[str, ...]
    store: Store

    def fingerprint(self, path: str) -> Field:
        """Return the layers and the path; this reads no file."""
        return Part(IMAGE, "", step_key("mounted", self.layers, path))

    def view(self, path: str, scratch: bytes, *, writable: bool) -> View:  # noqa: ARG002
        """Return the view of the layers, and ``path``."""
        return View(self.store.driver.root(self.layers), path)

    def recorded(self) -> Sequence[LayerPath]:
        """Return the places of the records of the files' owners."""
        return self.store.layers.paths(self.layers)


@dataclass(frozen=True, slots=True)
class RunMount:
    """A ``--mount``, with an absolute ``target``; ``origin`` has the files of a bind or a cache."""

    mount: Mount
    target: str
    origin: MountOrigin | None = None

    def key(self) -> Field:
        """Return the mount's part of the key."""
        mount = self.mount
        source = mount.source or "."
        fields: Field = [
            mount.type,
            self.target,
            mount.id,
            mount.env,
            mount.writable,
            mount.mode,
            mount.uid,
            mount.gid,
            mount.size,
            mount.sharing,
            None if self.origin is None else [source, self.origin.fingerprint(source)],
        ]
        return Part(MOUNT, self.target or f"{mount.type} {mount.id}", fields)


@dataclass
class PreparedMounts:
    """The prepared mounts of a RUN, and the ``environment`` that belongs to them.

    ``mounted`` tells a supervisor the owners of their files.
    """

    operations: list[DetachedMount] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    mounted: list[MountedTree] = field(default_factory=list)
    caches: dict[bytes, CacheMount] = field(default_factory=dict)

    def keep_owners(self, recorded: Sequence[OwnersManifest]) -> None:
        """Write the owners that a supervisor ``recorded`` for each of ``mounted`` to its cache."""
        for mounted, manifest in zip(self.mounted, recorded, strict=True):
            cache = self.caches.get(mounted.destination)
            if cache is not None:
                cache.record(manifest)


@dataclass(frozen=True, slots=True)
class RunMounts:
    """The mounts of one RUN, in order, and the objects that they are made from.

    ``metadata`` are files that tell RUN about the image, by path.  They are not part of the key.
    """

    options: RunOptions
    store: Store
    report: Report
    mounts: tuple[RunMount, ...]
    scripts: tuple[Script, ...]
    devices: RunDevices
    metadata: Mapping[bytes, bytes]

    def key(self) -> Field:
        """Return the mounts' part of the key of the RUN; raise BuildError for a missing file."""
        scripts: Field = [(script.name, script.text) for script in self.scripts]
        return [[mount.key() for mount in self.mounts], scripts, *self.devices.key()]

    @contextmanager
    def prepared(self) -> Iterator[PreparedMounts]:
        """Prepare the sources of the mounts until the context ends; raise BuildError."""
        prepared = PreparedMounts()
        caches = [mount for mount in self.mounts if mount.mount.type == CACHE]
        with ExitStack() as stack:
            requests = [self._request(mount) for mount in caches]
            taken = stack.enter_context(self.store.cache_mounts.use(requests, self._tell_waiting))
            directories = iter(taken)
            makers: dict[str, Callable[[RunMount, PreparedMounts], None]] = {
                BIND: lambda mount, result: self._bind(mount, result, stack),
                CACHE: lambda mount, result: _cache(mount, result, next(directories)),
                TMPFS: _tmpfs,
                SECRET: self._secret,
                SSH: self._ssh,
            }
            for mount in self.mounts:
                makers[mount.mount.type](mount, prepared)
            for script in self.scripts:
                path = encoded(f"{SCRIPT_DIRECTORY}/{script.name}")
                prepared.operations.append(_file(encoded(script.text), path, _SCRIPT_MODE))
            for target, contents in self.metadata.items():
                prepared.operations.append(FileMount(contents, target, DESIRED, writable=False))
            if (found := self.devices.injection()) is not None:
                prepared.operations += found.mounts
                pairs = [(os.fsdecode(name), os.fsdecode(value)) for name, value in found.variables]
                prepared.environment.update(pairs)
            yield prepared

    def _tell_waiting(self, name: str) -> None:
        self.report.info(f"waiting for another build to give up the cache mount {name}")

    def _bind(self, mount: RunMount, prepared: PreparedMounts, stack: ExitStack) -> None:
        assert mount.origin is not None
        draft = self.store.scratch.new()
        stack.callback(self.store.scratch.dispose, draft)
        copied = os.path.join(draft, b"files")
        os.mkdir(copied, 0o755)
        writable = mount.mount.writable
        view = mount.origin.view(mount.mount.source, copied, writable=writable)
        root, path = view.root, encoded(view.path)
        if writable and not view.is_copy:
            root = self._writable(root, draft)
        target = encoded(mount.target)
        prepared.operations.append(TreeMount(root, path, target, writable=writable))
        layers = mount.origin.recorded()
        if layers:
            inside = os.path.normpath(b"/" + path).strip(b"/")
            prepared.mounted.append(MountedTree(target, layers, inside))

    def _writable(self, root: Root, draft: bytes) -> Root:
        """Return a writable view of ``root``; the written files go to ``draft``."""
        if self.store.driver.name == "copy":
            copy = os.path.join(draft, b"copy")
            self.store.worker.call(copy_tree, root.directory, copy)
            return DirectoryRoot(copy)
        upper, work = os.path.join(draft, b"upper"), os.path.join(draft, b"work")
        base, lowers = root.lowers()
        os.mkdir(work, 0o700)
        os.mkdir(upper, 0o700)
        os.chmod(upper, os.stat(os.path.join(base, lowers[0])).st_mode & 0o7777)
        return OverlayRoot(base, lowers, upper, work, volatile=True)

    def _request(self, mount: RunMount) -> CacheRequest:
        wanted = mount.mount
        name = wanted.id or os.path.normpath(mount.target)
        namespace = self.options.cache_namespace
        fill: Callable[[bytes], None] | None = None
        origin = ""
        if mount.origin is not None:
            files = mount.origin
            origin = cache_key("cache mount", (), files.fingerprint(wanted.source or "."))
            fill = lambda tree: self._fill(files, wanted.source, tree)  # noqa: E731
        return CacheRequest(
            f"{namespace}/{name}" if namespace else name,
            wanted.sharing,
            wanted.mode,
            (wanted.uid or 0, wanted.gid or 0),
            origin,
            fill,
        )

    def _fill(self, origin: MountOrigin, source: str, tree: bytes) -> None:
        """Copy the files that ``source`` names into the new directory ``tree``."""
        draft = self.store.scratch.new()
        view = origin.view(source, draft, writable=False)

        def copy(fds: list[int]) -> None:
            flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
            found = openat2(fds[0], encoded(view.path) or b".", flags, RESOLVE_IN_ROOT)
            copy_tree(b"/proc/self/fd/%d" % found, tree)

        in_root([view.root], copy)
        self.store.scratch.dispose(draft)

    def _secret(self, mount: RunMount, prepared: PreparedMounts) -> None:
        wanted = mount.mount
        secret = self.options.access.secrets.get(wanted.id)
        if secret is None:
            if wanted.required:
                raise BuildError(
                    f"secret not given: {wanted.id}", f"build with --secret id={wanted.id},src=FILE"
                )
            return
        if wanted.env:
            prepared.environment[wanted.env] = os.fsdecode(secret.value)
        if wanted.env and not wanted.target:
            return
        path = mount.target or _SECRETS + wanted.id.rpartition("/")[2]
        mode = _SECRET_MODE if wanted.mode is None else wanted.mode
        target = encoded(path)
        prepared.operations.append(_file(secret.value, target, mode))
        if wanted.uid or wanted.gid:
            owner = OwnerRecord("f", wanted.uid or 0, wanted.gid or 0)
            prepared.mounted.append(MountedTree(target, owners={b"": owner}))

    def _ssh(self, mount: RunMount, prepared: PreparedMounts) -> None:
        wanted = mount.mount
        socket = self.options.access.agents.socket(wanted.id)
        if socket is None:
            if wanted.required:
                name = wanted.id or "default"
                raise BuildError(f"SSH agent not given: {name}", f"build with --ssh {name}")
            return
        number = sum(1 for known in prepared.operations if _AGENTS.encode() in known.destination)
        path = mount.target or f"{_AGENTS}{number}"
        prepared.environment.setdefault("SSH_AUTH_SOCK", path)
        prepared.operations.append(Bind(os.fsencode(socket), encoded(path), CREATED))


def _cache(mount: RunMount, prepared: PreparedMounts, directory: CacheMount) -> None:
    target, writable = encoded(mount.target), mount.mount.writable
    root = DirectoryRoot(directory.path.tree)
    prepared.operations.append(TreeMount(root, b"", target, writable=writable))
    prepared.mounted.append(MountedTree(target, [directory.path], tree=root.directory))
    prepared.caches[target] = directory


def _tmpfs(mount: RunMount, prepared: PreparedMounts) -> None:
    target, writable = encoded(mount.target), mount.mount.writable
    size = mount.mount.size
    options = b"" if size is None else b"size=%d" % size
    prepared.operations.append(TmpfsMount(target, CREATED, options=options, writable=writable))


def _file(contents: bytes, target: bytes, mode: int) -> FileMount:
    return FileMount(contents, target, CREATED, mode=mode, writable=False)


def _pattern(path: str) -> str:
    """Return a pattern that matches only ``path`` in a context."""
    return literal_pattern(path.lstrip("/")) or "."
