"""The root file system of a bundle: a directory, a file with SquashFS, or an image in storage.

``root.path`` is a directory, as the specification says, or a file that ``ch-run`` could run.  An
annotation of ``oci.bundle`` names an image in storage, or in a shared store, instead; so a bundle
needs no copy of it.
"""

from __future__ import annotations

import errno
import os

from sundog.base.configuration.holding import read_configuration
from sundog.base.configuration.storage import default_storage, usual_storage
from sundog.base.kernel.libc import encode_text, escaped, printable
from sundog.errors import NotInStorage, SundogError
from sundog.image.oci.bundle import IMAGE_ANNOTATION, STORAGE_ANNOTATION, STORE_ANNOTATION
from sundog.runtime.container.paths import is_directory
from sundog.runtime.container.root import DirectoryRoot
from sundog.runtime.container.variables import Environment
from sundog.runtime.launcher.image import find_stored, image_name
from sundog.runtime.launcher.one_file import is_one_file
from sundog.runtime.launcher.storage import find_storage, private_storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.base.configuration.stores import SharedImage
    from sundog.front.oci_runtime.specification import Configuration
    from sundog.runtime.container.root import Root
    from sundog.runtime.launcher.file_server import FileServer
    from sundog.runtime.launcher.shared_sources import SharedSources
    from sundog.runtime.launcher.storage import Storage


class RootSource:
    """The source of a container's root.

    ``is_layered`` says that it can only be written to through an overlay.
    """

    __slots__ = ("_files", "_image", "_path", "_shared", "_storage", "is_layered")

    def __init__(
        self,
        configuration: Configuration,
        bundle: bytes,
        given_storage: str | None,
        warn: Callable[[str], None],
    ) -> None:
        """Find it; call this before the process enters its namespaces.

        ``warn`` takes warnings of the configuration.  Raises SundogError.
        """
        self._files: FileServer | None = None
        self._storage: Storage | None = None
        self._shared: SharedSources | None = None
        self._image = configuration.annotations.get(IMAGE_ANNOTATION, "")
        self._path = os.path.join(bundle, configuration.root)
        store = configuration.annotations.get(STORE_ANNOTATION, "")
        if self._image and store:
            from sundog.runtime.launcher.shared_sources import SharedSources

            self._shared = SharedSources(_find_shared(self._image, encode_text(store), warn), [])
        elif self._image:
            named = given_storage or configuration.annotations.get(STORAGE_ANNOTATION)
            self._storage = find_image_storage(self._image, named)
        elif is_one_file(self._path, must_be_readable=True):
            from sundog.runtime.launcher.file_server import FileServer

            self._files = FileServer([self._path], is_single=True)
        else:
            check_directory(self._path)
        self.is_layered = any((self._storage, self._shared, self._files))

    def open(self) -> Root:
        """Return the root; call this in the container's mount namespace.  Raises SundogError."""
        if self._storage is not None:
            self._storage.reopen()
            found = find_stored(self._image.encode(), self._storage)
            if found is None:
                raise not_stored(self._image, self._storage.path)
            return found.root
        if self._shared is not None:
            return self._shared.open_image(with_records=False).root
        if self._files is not None:
            return self._files.open_image(self._path, with_records=False).root
        return DirectoryRoot(self._path)


def find_image_storage(image: str, given: str | None) -> Storage:
    """Return the storage directory with an image.  Raises SundogError."""
    environment = Environment.of(os.environb)
    path = default_storage(environment) if given is None else encode_text(given)
    name = _name(image)
    if not path.startswith(b"/"):
        raise SundogError(f"storage directory: not an absolute path: {printable(path)}")
    path = path.rstrip(b"/") or b"/"
    storage = find_storage(path, name, is_usual=path == usual_storage(environment))
    if storage.directory < 0:
        raise not_stored(image, path)
    return storage


def _find_shared(image: str, path: bytes, warn: Callable[[str], None]) -> SharedImage:
    """Return the image that is in the shared store ``path``.  Raises SundogError."""
    # Few bundles are of one.
    from sundog.base.configuration.stores import find_in_store
    from sundog.runtime.container.verified_layers import verify_if_wanted

    environment = Environment.of(os.environb)
    holding = read_configuration(environment)
    for line in holding.warnings:
        warn(line)
    if not path.startswith(b"/"):
        raise SundogError(f"annotation {STORE_ANNOTATION}: not an absolute path: {printable(path)}")
    found = find_in_store(path.rstrip(b"/") or b"/", _name(image), holding)
    if found is None:
        raise NotInStorage(
            f"no image {escaped(image)} in the shared store {printable(path)}",
            f"ch-image pull {escaped(image)}; then make the bundle again: ch-image oci-bundle",
        )
    found.check()
    own = private_storage(default_storage(environment))
    verify_if_wanted(found, holding, own.path if own.is_private else None, warn)
    return found


def _name(image: str) -> str:
    """Return the canonical name of the image of the annotation.  Raises NotInStorage."""
    name = image_name(image.encode("utf-8", "surrogateescape"))
    if name is None:
        raise NotInStorage(f"annotation {IMAGE_ANNOTATION}: not an image's name: {escaped(image)}")
    return name


def not_stored(image: str, storage: bytes) -> NotInStorage:
    """Return the error for an image that is not in ``storage``."""
    return NotInStorage(
        f"no image {escaped(image)} in the storage directory {printable(storage)}", "ch-image list"
    )


def check_directory(path: bytes) -> None:
    """Raise SundogError unless ``path`` is a directory."""
    try:
        problem = 0 if is_directory(path) else errno.ENOTDIR
    except OSError as error:
        problem = error.errno or 0
    if problem:
        raise SundogError(
            f"invalid rootfs: {printable(path)}: {os.strerror(problem)}",
            "root.path is a directory, or a file with SquashFS",
        )
