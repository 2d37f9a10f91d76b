"""Shared stores: which directories count, and the images in them.

Options name them first, then ``$CH_IMAGE_STORES``, else the configuration.  A store counts if it is
trusted, as all that is used of it: it belongs to root, to the user, or to one of the
``trusted_owners``, and nobody else may write there.  Readers take no lock and write nothing.

A store that does not count is an error if an option names it, and otherwise a warning.
"""

from __future__ import annotations

import os

from sundog.base.configuration.holding import read_configuration
from sundog.base.configuration.keys import IMAGE_STORES, TRUSTED_OWNERS
from sundog.base.configuration.trusted import open_contents, open_trusted
from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.base.kernel.stub import read_all
from sundog.base.record.names import name_to_directory
from sundog.base.record.shared_image import (
    SHARED_IMAGES,
    SHARED_LIMIT,
    SHARED_MARK,
    SHARED_VERSION,
    shared_layer_file,
    unpack_shared,
)
from sundog.errors import Distrusted, StoreError

_OWNER_HINT = 'trust its owner, if you do: [storage] trusted_owners = ["NAME"] in {}'

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from sundog.base.record.location import Variables

    Warn = Callable[[str], None]


class SharedImage:
    """An image in a shared store.

    store      the path of the store
    path       the path of the image's file
    directory  its name below ``images``
    layers     the paths of its layers, topmost first
    documents  JSON: what else is known of it
    """

    __slots__ = ("directory", "documents", "layers", "path", "store")

    def __init__(
        self, store: bytes, directory: bytes, layers: Sequence[bytes], documents: bytes
    ) -> None:
        self.store = store
        self.directory = directory
        self.path = b"/".join((store, SHARED_IMAGES, directory))
        self.layers = layers
        self.documents = documents


class SharedStore:
    """A shared store that counts; ``directory`` is its descriptor."""

    __slots__ = ("_directory", "_owners", "path")

    def __init__(self, path: bytes, directory: int, owners: Collection[int]) -> None:
        self.path = path
        self._directory = directory
        self._owners = owners

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._directory)

    def find(self, name: str) -> SharedImage | None:
        """Return the image with the canonical name ``name``, if it is here.

        Raises Distrusted, StoreError and OSError.
        """
        return self._read(name_to_directory(name).encode())

    def images(self) -> Iterator[SharedImage]:
        """Give all images, in order of their names.  Raises as ``find``."""
        with Closing(open_trusted(SHARED_IMAGES, self._owners, self._directory)) as fd:
            names = sorted(os.listdir(b"/proc/self/fd/%d" % fd))
        for name in names:
            image = None if name.startswith(b".") else self._read(name)
            if image is not None:
                yield image

    def _read(self, directory: bytes) -> SharedImage | None:
        place = SHARED_IMAGES + b"/" + directory
        shown = self.path + b"/" + place
        try:
            data = self._contents(place, shown)
        except FileNotFoundError:
            return None
        ids, documents = unpack_shared(data, printable(shown))
        layers = [self.path + b"/" + shared_layer_file(layer) for layer in ids]
        return SharedImage(self.path, directory, layers, documents)

    def check_layers(self, image: SharedImage) -> None:
        """Raise Distrusted, or StoreError, unless each layer of ``image`` is there and trusted."""
        for layer in image.layers:
            try:
                found = open_trusted(layer.removeprefix(self.path + b"/"), *self._trust)
            except OSError as error:
                raise StoreError(
                    f"can't read {printable(layer)}: {error.strerror}",
                    "the owner of the store can publish the image again",
                ) from None
            with Closing(found), Closing(open_contents(found, layer)):
                pass

    @property
    def _trust(self) -> tuple[Collection[int], int]:
        return self._owners, self._directory

    def _contents(self, place: bytes, shown: bytes) -> bytes:
        with (
            Closing(open_trusted(place, *self._trust)) as fd,
            Closing(open_contents(fd, shown)) as f,
        ):
            if os.fstat(f).st_size > SHARED_LIMIT:
                raise StoreError(f"{printable(shown)}: larger than {SHARED_LIMIT:,} bytes")
            return read_all(f)

    def check_mark(self) -> None:
        """Raise StoreError if the directory is no shared store, or has another version."""
        try:
            mark = self._contents(SHARED_MARK, self.path + b"/" + SHARED_MARK)
        except FileNotFoundError:
            raise StoreError(
                f"no shared store: {printable(self.path)}", "ch-image publish IMAGE DIR makes one"
            ) from None
        if mark != SHARED_VERSION:
            raise StoreError(
                f"{printable(self.path)} is a shared store of another version", "update Sundog"
            )


def open_store(path: bytes, owners: Collection[int]) -> SharedStore:
    """Open a shared store.  Raises Distrusted, StoreError, and OSError if it can't be read."""
    store = SharedStore(path, open_trusted(path, owners), owners)
    try:
        store.check_mark()
    except BaseException:
        store.close()
        raise
    return store


def open_stores(environment: Variables, named: Sequence[bytes], warn: Warn) -> list[SharedStore]:
    """Return the shared stores that count, in the order of the search.

    ``named`` are those of options, as absolute paths.  ``warn`` takes a line about each of the
    others that does not count.  Raises SundogError for a mistake in the configuration, or for a
    store of an option.
    """
    holding = read_configuration(environment)
    for line in holding.warnings:
        warn(line)
    paths = [*named, *holding.values(IMAGE_STORES)]
    owners = owner_ids(holding.values(TRUSTED_OWNERS)) if paths else ()
    stores: list[SharedStore] = []
    for path in dict.fromkeys(path.rstrip(b"/") or b"/" for path in paths):
        try:
            stores.append(open_store(path, owners))
        except (StoreError, Distrusted, OSError) as error:
            problem = unusable_store(path, error)
            if path in named:
                raise problem from None
            warn(f"{problem.message}; {problem.hint}" if problem.hint else problem.message)
    return stores


def unusable_store(path: bytes, error: StoreError | Distrusted | OSError) -> StoreError:
    """Return the error that says why the shared store ``path`` does not count."""
    if isinstance(error, OSError):
        text, hint = error.strerror or "", "is it mounted on this machine?"
    else:
        text, hint = error.message, error.hint or _OWNER_HINT.format("sundog.toml")
    return StoreError(f"can't use the shared store {printable(path)}: {text}", hint)


def owner_ids(accounts: Sequence[bytes]) -> frozenset[int]:
    """Return the IDs of root, of this user, and of ``accounts``, as far as there are such."""
    named = [account_id(account) for account in accounts]
    return frozenset({0, os.geteuid(), *(uid for uid in named if uid is not None)})


def account_id(account: bytes) -> int | None:
    """Return the ID of an account, which may be a number already; None if there is none."""
    if account.isdigit():
        return int(account)
    import pwd  # noqa: PLC0415 - reads the C library's name service; seldom needed

    try:
        return pwd.getpwnam(os.fsdecode(account)).pw_uid
    except KeyError:
        return None
