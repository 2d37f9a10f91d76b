"""Images that are one file: start their server, mount them, and find what they run.

``ch-run`` starts the server before it enters the namespaces.  So no program of the container can
trace the server, and the server holds none of the container's mounts.  ``ch-run`` mounts the files,
passes the devices on, and becomes the command.  See ``fuse.server``.

``one_file`` imports this module only for such images.  In the wheel it is in a joined module of its
own.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import escaped, kernel_error, printable
from sundog.base.record.directory import OWN_COMMAND, OWN_VARIABLES
from sundog.base.record.layer_path import LAYER_TREE
from sundog.base.record.lazy_layer import check_place, check_refused
from sundog.base.record.stack import unpack_command
from sundog.errors import SundogError
from sundog.runtime.container.operations import CREATED, Bind
from sundog.runtime.container.paths import OPEN_DIRECTORY, is_directory
from sundog.runtime.container.root_files import open_inside
from sundog.runtime.container.squash_root import SquashRoot
from sundog.runtime.fuse.device import mount_fuse
from sundog.runtime.fuse.layer_server import are_complete, open_layers, show_store
from sundog.runtime.fuse.messages import DEVICE_MESSAGE, READY
from sundog.runtime.fuse.starting import start_server
from sundog.runtime.launcher.environment import SetVariables
from sundog.runtime.launcher.host_sources import HostSources
from sundog.runtime.launcher.image import Image
from sundog.runtime.launcher.start_place import start_record
from sundog.runtime.squashfs.sif import squashfs_place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.record.start_record import StartRecord
    from sundog.runtime.launcher.options import CommandLine
    from sundog.runtime.launcher.storage import Storage

_DESCRIPTOR_PATH = b"/proc/self/fd/%d"
_TEXT_LIMIT = 1 << 20  # in bytes: a file of the image that ``ch-run`` reads

# Apptainer's entry points; each reads the image's environment first.
SIF_RUN = b".singularity.d/actions/run"
_SIF_EXECUTE = b".singularity.d/actions/exec"
SIF_RUNSCRIPT = b".singularity.d/runscript"
# Enroot's.
ENROOT_ENTRY = b"etc/rc"
_ENROOT_VARIABLES = b"etc/environment"
_SHELL = b"/bin/sh"


class FileServer:
    """The server of the files ``paths``: a process that this one has started.

    It serves the layers of the storage directory ``store``, too, unless that is empty.
    """

    __slots__ = ("_channel", "_paths")

    def __init__(
        self,
        paths: list[bytes],
        store: bytes = b"",
        *,
        is_single: bool,
        tells: bool = False,
        record: StartRecord | None = None,
        fetcher: int = -1,
    ) -> None:
        """Start the server; call it before the process enters its namespaces.

        ``is_single`` says that there will be one mount; ``tells``, ``record`` and ``fetcher`` are
        as of ``start_server``.  Raises SundogError for a file that has no SquashFS, and OSError.
        """
        self._paths = paths
        images = []
        for path in paths:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise kernel_error("open", path, error.errno or 0) from None
            images.append((fd, squashfs_place(fd, path)))
        if store:
            images.append(open_layers(store))
        self._channel = start_server(
            images, is_single=is_single, tells=tells, record=record, fetcher=fetcher
        )

    def mount(self, path: bytes, *, with_records: bool = False) -> tuple[int, int]:
        """Return a detached mount of a file, and its records or -1.  Raises SundogError.

        Call it in the container's namespaces.
        """
        uid, gid = os.geteuid(), os.getegid()
        device, tree = mount_fuse(path, uid, gid)
        index = self._paths.index(path)
        try:  # noqa: SIM105 - contextlib takes as long as the rest of the start
            self._channel.send(DEVICE_MESSAGE.pack(index, uid, gid, with_records), device)
        except OSError:
            pass  # the server has ended; it may have said why
        # From now on, only the server has the device.  Programs must not wait for a dead one.
        os.close(device)
        try:
            answer, records = self._channel.receive()
        except OSError:
            answer, records = b"", -1
        if answer != READY:
            _, _, reason = answer.partition(b":")
            text = escaped(reason.decode("utf-8", "backslashreplace"))
            raise SundogError(
                f"can't mount {printable(path)}: {text or 'its server has died'}",
                "check the file: unsquashfs -s; copy it again, or make it again with ch-convert",
            )
        return tree, records

    def show_layers(self, storage: Storage, layers: Sequence[bytes]) -> None:
        """Mount the layers of the store, and look at those to be used.  Raises SundogError."""
        store, place = storage.path, storage.at(b".")
        show_store(self._channel, len(self._paths), store, place, is_whole=True)
        for layer in layers:
            try:
                os.stat(place + b"/layers/" + layer + LAYER_TREE)
            except OSError as error:
                check_refused(place + b"/layers/" + layer)
                check_place(place + b"/layers/" + layer)
                raise SundogError(
                    f"can't read layer {printable(layer)} of {printable(store)}: {error.strerror}",
                    "a file there is damaged: delete the image; then pull or build it again",
                ) from None

    def open_image(self, path: bytes, *, with_records: bool) -> Image:
        """Mount the file ``path``; return the image.  Raises SundogError."""
        tree, records = self.mount(path, with_records=with_records)
        recorded = (_DESCRIPTOR_PATH % tree, _DESCRIPTOR_PATH % records) if with_records else None
        return _one_file_image(SquashRoot(path, tree), recorded)


class ServedSources(HostSources):
    """The image and the sources of --bind, if one of them is one file, and the server of those.

    The image may also have ``layers`` in the storage directory ``store``, some of which are files.
    """

    __slots__ = ("_image", "_layers", "_server", "_sources", "_store")

    def __init__(
        self,
        image: bytes,
        sources: list[bytes],
        store: bytes = b"",
        layers: Sequence[bytes] = (),
        *,
        place: bytes = b"",
        line: CommandLine | None = None,
        fetcher: int = -1,
    ) -> None:
        """Start the server for ``image`` and ``store``, unless they are empty, and ``sources``.

        ``place`` is another path of the store: to the directory that has been checked.  ``line``
        says how the start is recorded; None: it is not.  ``fetcher`` is as of ``start_server``.
        Raises SundogError.
        """
        self._image = image
        self._sources = sources
        self._store = store
        self._layers = layers
        paths = [image, *sources] if image else sources
        files = list(dict.fromkeys(paths))
        trees = [(place or store) + b"/layers/" + layer + LAYER_TREE for layer in layers]
        record = None if line is None else start_record(line, place or store, layers)
        is_whole = are_complete(trees)
        if is_whole and fetcher >= 0:
            os.close(fetcher)
            fetcher = -1
        self._server = FileServer(
            *(files, place or store),
            is_single=not sources,
            tells=not is_whole,
            record=record,
            fetcher=fetcher,
        )

    def show_store(self, storage: Storage) -> None:
        """Mount the layers of the store, which is ``storage``.  Raises SundogError."""
        self._server.show_layers(storage, self._layers)

    def show_layers(self, storage: Storage) -> None:
        """See ``HostSources``."""
        if self._store == storage.path:
            self.show_store(storage)

    def open_image(self, *, with_records: bool) -> Image | None:
        """See ``HostSources``."""
        if not self._image:
            return None
        return self._server.open_image(self._image, with_records=with_records)

    def bind(self, source: bytes, destination: bytes, *, writable: bool, is_own: bool) -> Bind:
        """See ``HostSources``."""
        if source == destination or source not in self._sources:
            return super().bind(source, destination, writable=writable, is_own=is_own)
        return _FileBind(
            source, destination, CREATED, self._server, writable=writable, is_own=is_own
        )


class _FileBind(Bind):
    """Show a file with a file system as a directory, or as the file that it is.

    It is a directory if the destination is one, or ends with "/".  It is a file if the destination
    is one, or is missing and has the file's own name.  At any other missing destination it is a
    directory.
    """

    __slots__ = ("_files", "_is_file", "_shown")

    def __init__(
        self,
        source: bytes,
        destination: bytes,
        need: str,
        files: FileServer,
        *,
        writable: bool,
        is_own: bool,
    ) -> None:
        super().__init__(source, destination, need, writable=writable, is_own=is_own)
        self._files = files
        self._is_file = destination.rpartition(b"/")[2] == source.rpartition(b"/")[2]
        self._shown = -1

    def what(self) -> str:
        """See ``DetachedMount``."""
        return f"mount the file {printable(self.source)}"

    def acquire(self) -> None:
        """See ``DetachedMount``."""
        super().acquire()
        self._shown, _ = self._files.mount(self.source)

    def covers_directory(self) -> bool:
        """See ``DetachedMount``."""
        return not self._is_file

    def attach(self) -> None:
        """See ``DetachedMount``."""
        try:  # noqa: SIM105 - contextlib takes as long as the rest of the start
            self._is_file = not is_directory(self.destination)
        except OSError:
            pass  # it is missing
        if not self._is_file:
            self.tree, self._shown = self._shown, self.tree
        os.close(self._shown)
        super().attach()


def shown_image(path: bytes) -> Image:
    """Return the image ``path``, which is one file, and this process's root directory."""
    return _one_file_image(SquashRoot(path, os.open(b"/", OPEN_DIRECTORY)), None)


def _one_file_image(root: SquashRoot, recorded: tuple[bytes, bytes] | None) -> Image:
    """Return the image that ``root`` shows, with its command.  Raises SundogError."""
    tree = root.tree
    own = read_text(tree, OWN_COMMAND)
    if own is not None:
        stack = unpack_command(own)
        return Image(
            root,
            stack.entrypoint + stack.command,
            stack.workdir or b"/",
            user=stack.user,
            recorded=recorded,
            own_variables=_has_file(tree, OWN_VARIABLES),
            named=False,
        )
    if _has_file(tree, SIF_RUN) or _has_file(tree, SIF_RUNSCRIPT):
        entry = SIF_RUN if _has_file(tree, SIF_RUN) else SIF_RUNSCRIPT
        prefix = [b"/" + _SIF_EXECUTE] if _has_file(tree, _SIF_EXECUTE) else []
        return Image(root, [b"/" + entry], prefix=prefix, recorded=recorded, named=False)
    if _has_file(tree, ENROOT_ENTRY):
        variables = _enroot_variables(read_text(tree, _ENROOT_VARIABLES) or b"")
        return Image(
            root,
            [_SHELL, b"/" + ENROOT_ENTRY],
            variables=variables,
            recorded=recorded,
            named=False,
        )
    return Image(root, recorded=recorded, named=False)


def _enroot_variables(data: bytes) -> list[SetVariables]:
    """Return the variables in Enroot's /etc/environment: NAME=VALUE in each line.

    Lines that are something else have no effect, as in pam_env(7).
    """
    found = []
    for line in data.split(b"\n"):
        name, equals, value = line.strip().removeprefix(b"export ").partition(b"=")
        if not equals or not name or name.startswith(b"#") or b"\0" in line:
            continue
        if len(value) >= 2 and value[:1] == value[-1:] and value[:1] in (b"'", b'"'):
            value = value[1:-1]
        found.append((name, value))
    return [SetVariables(found, verbatim=True)] if found else []


def _has_file(tree: int, path: bytes) -> bool:
    """Tell whether the image has the regular file ``path``."""
    fd = open_inside(tree, path)
    if fd >= 0:
        os.close(fd)
    return fd >= 0


def read_text(tree: int, path: bytes) -> bytes | None:
    """Return the content of the image's file ``path``, None if it has none.  Raises SundogError."""
    fd = open_inside(tree, path)
    if fd < 0:
        return None
    with Closing(fd):
        if os.fstat(fd).st_size > _TEXT_LIMIT:
            raise SundogError(f"damaged image: {printable(path)} is larger than 1 MiB")
        try:
            return os.read(fd, _TEXT_LIMIT)
        except OSError as error:
            raise kernel_error("read", path, error.errno or 0) from None
