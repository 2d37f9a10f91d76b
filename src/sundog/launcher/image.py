"""Find an image: by its name in the storage directory, or as a directory.

Of the storage ``ch-run`` knows only the layout and the formats of ``record/``:

    images/NAME/stack   which layers, and what runs by default
    images/NAME/root/   what the image says about itself, in ch/
    layers/ID/tree/     the files of a layer; beside it its manifest ``owners``
    trees/ID/           or all layers of an image flattened
    skeleton/           the mount points that every container has

Called in the container's own mount namespace, because what is opened here is mounted later.

Floor 0.
"""

import errno
import os

from sundog.container.paths import OPEN_DIRECTORY, absolute, is_directory, real_path
from sundog.container.root import DirectoryRoot, OverlayRoot
from sundog.errors import NotInStorage, ReferenceSyntaxError, SundogError
from sundog.kernel.libc import kernel_error, printable
from sundog.launcher.storage import Storage, closed_storage
from sundog.record.names import canonical_name, name_to_directory
from sundog.record.stack import read_stack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.container.root import Root


class Image:
    """An image's root file system, and what runs in it by default.

    ``command`` is ENTRYPOINT and CMD in one, empty if the image has neither, ``workdir`` is where
    they start, and ``user`` is USER.  ``layers`` are directories, topmost first, that have ``tree``
    and ``owners``.  ``named`` tells an image in storage from a directory, which has only a root.
    """

    __slots__ = ("command", "layers", "named", "root", "user", "workdir")

    def __init__(
        self,
        root: "Root",
        command: "Sequence[bytes]" = (),
        workdir: bytes = b"/",
        *,
        user: bytes = b"",
        layers: "Sequence[bytes]" = (),
        named: bool,
    ) -> None:
        self.root = root
        self.command = command
        self.workdir = workdir
        self.user = user
        self.layers = layers
        self.named = named


def image_name(reference: bytes) -> str | None:
    """Return the canonical name that ``reference`` is; None if it is none, but perhaps a path."""
    try:
        return canonical_name(reference.decode("ascii"))
    except (ReferenceSyntaxError, UnicodeDecodeError):
        return None


def find_image(reference: bytes, storage: Storage, *, unsafe: bool = False) -> Image:
    """Return the image that ``reference`` names; a name in ``storage`` beats a directory.

    A directory inside the storage is refused unless ``unsafe``.  Raises NotInStorage if there is
    neither.
    """
    image = find_stored(reference, storage)
    return image or find_directory(reference, storage.path, unsafe=unsafe)


def find_stored(reference: bytes, storage: Storage) -> Image | None:
    """Return the image of the name ``reference`` in ``storage``, if there is one."""
    name = image_name(reference)
    if name is None or storage.directory < 0:
        return None
    try:
        place = storage.at(b"images/" + name_to_directory(name).encode())
        directory = os.open(place, OPEN_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise closed_storage(storage.path) from None
    # From here on everything is read through this descriptor, so that an image that replaces this
    # one in the meantime is not mixed with it.
    stack = read_stack(directory)
    own = b"/proc/self/fd/%d/root" % directory
    root: Root
    if stack.tree:
        root = DirectoryRoot(storage.at(b"trees/" + stack.tree), ((own + b"/ch", b"ch"),))
    else:
        layers = [layer + b"/tree" for layer in stack.layers]
        root = OverlayRoot(storage.at(b"layers"), [own, *layers, b"../skeleton"])
    return Image(
        root,
        stack.entrypoint + stack.command,
        stack.workdir or b"/",
        user=stack.user,
        layers=[storage.at(b"layers/" + layer) for layer in stack.layers],
        named=True,
    )


def find_directory(reference: bytes, storage: bytes, *, unsafe: bool) -> Image:
    """Return the image that is the directory ``reference``."""
    shown = printable(reference)
    try:
        directory = is_directory(reference)
    except (FileNotFoundError, NotADirectoryError):
        raise NotInStorage(
            f"image not found: {shown}: neither in storage nor a directory",
            f"the storage is {printable(storage)}; see: ch-image list",
        ) from None
    except OSError as error:
        raise kernel_error("stat", reference, error.errno or 0) from None
    if not directory:
        raise SundogError(
            f"unknown image type: {shown}",
            "an image is a name in storage or a directory; see: ch-image import",
        )
    if not os.access(reference, os.X_OK, effective_ids=True):
        raise kernel_error("open", reference, errno.EACCES)
    path = absolute(reference)
    if not unsafe and is_stored(path, storage):
        raise SundogError("can't run directory images from storage", "run by name")
    return Image(DirectoryRoot(path), named=False)


def is_stored(path: bytes, storage: bytes) -> bool:
    """Tell whether the directory ``path`` is in the ``storage`` directory.

    Only a path that looks like it is followed through its symbolic links: this is a help for users,
    not a barrier, and it costs a look-up.
    """
    if not any(b"/%s/" % name in path + b"/" for name in (b"images", b"layers", b"trees")):
        return False
    try:
        return real_path(path).startswith(real_path(storage) + b"/")
    except OSError:
        return False
