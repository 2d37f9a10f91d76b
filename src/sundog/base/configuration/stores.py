"""Shared stores: which directories count, and the images in them.

Options name them first, then ``$CH_IMAGE_STORES``, else the configuration.  A store counts if it is
trusted, as all that is used of it: it belongs to root, to the user, or to one of the
``trusted_owners``, and nobody else may write there.  Readers take no lock and write nothing.

A store that does not count is an error if an option names it, and otherwise a warning.
"""

from __future__ import annotations

import os

from sundog.base.configuration.holding import read_configuration
from sundog.base.configuration.keys import IMAGE_STORES, TRUSTED_OWNERS, VERIFY, YES
from sundog.base.configuration.trusted import (
    check_trusted_file,
    open_regular_file,
    open_trusted,
)
from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.base.kernel.stub import read_all
from sundog.base.record.layer_path import LAYER_TREE, linked_tree
from sundog.base.record.names import name_to_directory, spelled_out
from sundog.base.record.shared_image import (
    LAYER_EXTRAS,
    LAYER_PARTS,
    SHARED_IMAGES,
    SHARED_LAYERS,
    SHARED_LIMIT,
    SHARED_MARK,
    SHARED_VERSION,
    unpack_shared,
)
from sundog.base.spelling import BOOLEANS
from sundog.errors import Distrusted, StoreError, SundogError

_OWNER_HINT = (
    'if you trust its owner: [storage] trusted_owners = ["NAME"] in ~/.config/sundog/sundog.toml'
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from sundog.base.configuration.holding import Holding
    from sundog.base.record.location import Variables
    from sundog.base.record.stack import ImageStack


class SharedStore:
    """A shared store that counts; ``directory`` is its descriptor.

    Its methods raise StoreError for what is damaged, or what others could have changed.
    """

    __slots__ = ("_owners", "directory", "path")

    def __init__(self, path: bytes, directory: int, owners: Collection[int]) -> None:
        self.path = path
        self.directory = directory
        self._owners = owners

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.directory)

    def find(self, name: str) -> SharedImage | None:
        """Return the image with the canonical name ``name``, if it is here."""
        return self._read(name_to_directory(name).encode())

    def images(self) -> Iterator[SharedImage]:
        """Give all images, in order of their names."""
        try:
            with Closing(open_trusted(SHARED_IMAGES, self._owners, self.directory)) as fd:
                names = sorted(os.listdir(b"/proc/self/fd/%d" % fd))
        except (Distrusted, OSError) as error:
            raise _unusable_store(self.path, error) from None
        for name in names:
            image = None if name.startswith(b".") else self._read(name)
            if image is not None:
                yield image

    def opened(self, place: bytes) -> int:
        """Open the file ``place`` of the store for reading.

        Raises StoreError, and FileNotFoundError.
        """
        shown = self.path + b"/" + place
        try:
            with Closing(open_trusted(place, self._owners, self.directory)) as fd:
                return open_regular_file(fd, shown)
        except FileNotFoundError:
            raise
        except (Distrusted, OSError) as error:
            raise _unusable_store(self.path, error) from None

    def status(self, place: bytes) -> os.stat_result:
        """Return the status of the file ``place``; raise as ``opened``.  It is not opened."""
        try:
            with Closing(open_trusted(place, self._owners, self.directory)) as fd:
                return os.fstat(fd)
        except FileNotFoundError:
            raise
        except (Distrusted, OSError) as error:
            raise _unusable_store(self.path, error) from None

    def check_layers(self, layers: Collection[bytes], image: bytes) -> None:
        """Raise StoreError if a part of a layer of ``image`` is missing or not trusted.

        This opens no file: on a file system of a cluster, an open is a request.
        """
        try:
            with Closing(open_trusted(SHARED_LAYERS, self._owners, self.directory)) as fd:
                for layer in layers:
                    self._check_layer(fd, layer, image)
        except (Distrusted, OSError) as error:
            raise _unusable_store(self.path, error) from None

    def _check_layer(self, layers: int, layer: bytes, image: bytes) -> None:
        """Check a layer.  Raises StoreError and Distrusted."""
        path = b"/".join((self.path, SHARED_LAYERS, layer))
        try:
            with Closing(open_trusted(layer, self._owners, layers)) as fd:
                for part in LAYER_PARTS:
                    check_trusted_file(part[1:], fd, self._owners, path + part)
                for part in LAYER_EXTRAS:
                    try:
                        check_trusted_file(part[1:], fd, self._owners, path + part)
                    except FileNotFoundError:
                        continue
                target = os.readlink(LAYER_TREE[1:], dir_fd=fd)
        except OSError:
            target = b""
        if target != linked_tree(layer):
            name = spelled_out(os.fsdecode(os.path.basename(image)))
            raise StoreError(
                f"damaged image in a shared store: {printable(image)} needs {printable(path)}",
                f"its owner can publish it again; your own: ch-image pull {name}",
            )

    def contents(self, place: bytes) -> bytes:
        """Return the contents of the file ``place``; raise as ``opened``."""
        with Closing(self.opened(place)) as fd:
            if os.fstat(fd).st_size > SHARED_LIMIT:
                shown = printable(self.path + b"/" + place)
                raise StoreError(f"{shown}: larger than {SHARED_LIMIT:,} bytes")
            return read_all(fd)

    def _read(self, directory: bytes) -> SharedImage | None:
        place = SHARED_IMAGES + b"/" + directory
        try:
            data = self.contents(place)
        except FileNotFoundError:
            return None
        stack, documents = unpack_shared(data, printable(self.path + b"/" + place))
        return SharedImage(self, directory, stack, documents)


class SharedImage:
    """An image in a shared store.

    path       the path of the image's file
    directory  its name below ``images``
    stack      its layers, topmost first, and its default command
    documents  JSON: what else is known of it
    """

    __slots__ = ("directory", "documents", "path", "stack", "store")

    def __init__(
        self, store: SharedStore, directory: bytes, stack: ImageStack, documents: bytes
    ) -> None:
        self.store = store
        self.directory = directory
        self.path = b"/".join((store.path, SHARED_IMAGES, directory))
        self.stack = stack
        self.documents = documents

    def check(self) -> None:
        """Raise StoreError if a part of a layer is missing, or if others could have changed it."""
        self.store.check_layers(dict.fromkeys(self.stack.layers), self.path)


class SharedStores:
    """The shared stores of a command, which are opened when it looks for an image.

    ``named`` are those of options, as absolute paths; ``holding`` is the configuration, if the
    caller has read it, with its warnings.  ``warn`` takes lines about others that do not
    count.  The methods raise SundogError for a mistake in the configuration, for a store of an
    option that does not count, and for an image that is damaged or not trusted.
    """

    __slots__ = ("_environment", "_holding", "_named", "_opened", "_warn")

    def __init__(
        self,
        environment: Variables,
        named: Sequence[bytes],
        warn: Callable[[str], None],
        holding: Holding | None = None,
    ) -> None:
        self._environment = environment
        self._holding = holding
        self._named = [path.rstrip(b"/") or b"/" for path in named]
        self._warn = warn
        self._opened: list[SharedStore] | None = None

    def find(self, name: str) -> SharedImage | None:
        """Return the image with the canonical name ``name`` of the first store that has it."""
        for store in self.stores():
            image = store.find(name)
            if image is not None:
                return image
        return None

    def images(self) -> list[SharedImage]:
        """Return all images that ``find`` finds, in order of the stores and their names."""
        found: dict[bytes, SharedImage] = {}
        for store in self.stores():
            for image in store.images():
                found.setdefault(image.directory, image)
        return list(found.values())

    def files(self, place: bytes) -> Iterator[int]:
        """Give the file ``place`` of each store that has it, open for reading."""
        for store in self.stores():
            try:
                opened = store.opened(place)
            except FileNotFoundError:
                continue
            except StoreError as error:
                self._warn(error.message)
                continue
            with Closing(opened) as fd:
                yield fd

    def close(self) -> None:
        """Close the stores that were opened."""
        for store in self._opened or ():
            store.close()
        self._opened = None

    def stores(self) -> Sequence[SharedStore]:
        """Return the stores that count, in the order of the search."""
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _open(self) -> list[SharedStore]:
        holding = self._holding
        if holding is None:
            holding = read_configuration(self._environment)
            for line in holding.warnings:
                self._warn(line)
        paths = [*self._named, *holding.values(IMAGE_STORES)]
        owners = owner_ids(holding.values(TRUSTED_OWNERS)) if paths else ()
        stores: list[SharedStore] = []
        for path in dict.fromkeys(path.rstrip(b"/") or b"/" for path in paths):
            try:
                stores.append(open_store(path, owners))
            except StoreError as error:
                if path in self._named:
                    raise
                self._warn(f"{error.message}; {error.hint}" if error.hint else error.message)
        return stores


def is_verified(holding: Holding) -> bool:
    """Tell whether starts verify shared images; raise SundogError for a mistake in the variable."""
    values = holding.values(VERIFY)
    if not values or holding.source(VERIFY) != f"${VERIFY.variable}":
        return values == YES
    word = values[0].decode("utf-8", "replace")
    found = {"yes": True, "no": False}.get(word, BOOLEANS.get(word))
    if found is None:
        raise SundogError(f"${VERIFY.variable}: {printable(values[0])}", "one of: yes, no")
    return found


def find_in_store(path: bytes, name: str, holding: Holding) -> SharedImage | None:
    """Return the image with the canonical name ``name`` of one store.  Raises SundogError."""
    return open_store(path, owner_ids(holding.values(TRUSTED_OWNERS))).find(name)


def open_store(path: bytes, owners: Collection[int]) -> SharedStore:
    """Open a shared store.  Raises StoreError."""
    try:
        store = SharedStore(path, open_trusted(path, owners), owners)
    except (Distrusted, OSError) as error:
        raise _unusable_store(path, error) from None
    try:
        if store.contents(SHARED_MARK) != SHARED_VERSION:
            raise _unusable_store(path, StoreError("it has another version", "update Sundog"))
    except FileNotFoundError:
        store.close()
        unmarked = StoreError("it is no shared store", "ch-image publish IMAGE DIR makes one")
        raise _unusable_store(path, unmarked) from None
    except BaseException:
        store.close()
        raise
    return store


def _unusable_store(path: bytes, error: SundogError | OSError) -> StoreError:
    """Return the error that says why the shared store ``path`` does not count."""
    if isinstance(error, OSError):
        text, hint = error.strerror or "", "is it mounted on this machine?"
    else:
        text, hint = error.message, error.hint or _OWNER_HINT
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
