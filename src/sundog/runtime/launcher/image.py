"""Find an image: by its name in the storage directory, or as a directory.

``ch-run`` knows the layout of the storage directory, and the formats of ``record/``:

    images/NAME/stack   the layers of the image, and its default command
    images/NAME/root/   metadata for the container, in ch/
    layers/ID/tree/     the files of a layer; the manifest ``owners`` is beside them
    shown/              where the files of layers are mounted that are files: ``record.layer_path``
    trees/ID/           all layers of an image, flattened; the other driver's form
    skeleton/           the mount points that every container has

Call these functions in the container's mount namespace, because ``ch-run`` mounts what they open.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.libc import kernel_error, printable
from sundog.base.kernel.sharing import is_shared
from sundog.base.record.kept import (
    CONTAINER_IMAGE,
    CONTAINER_UPPER,
    CONTAINER_WORK,
    container_place,
)
from sundog.base.record.layer_path import LAYER_TREE
from sundog.base.record.names import canonical_name, spelled_out
from sundog.base.record.running import note_run
from sundog.base.record.stack import read_stack
from sundog.base.record.stored_path import stored_place
from sundog.base.spelling import nearest
from sundog.errors import NotInStorage, ReferenceSyntaxError, SundogError
from sundog.runtime.container.paths import OPEN_DIRECTORY, absolute, is_directory, real_path
from sundog.runtime.container.root import DirectoryRoot, OverlayRoot
from sundog.runtime.launcher.storage import Storage, closed_storage

_COMPARED_LIMIT = 1000  # names of images; comparing one takes some 20 microseconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.runtime.container.root import Root
    from sundog.runtime.launcher.environment import EnvironmentChange


class Image:
    """An image's root file system, and its default command.

    command     ENTRYPOINT and CMD together; empty if the image has neither
    workdir     WORKDIR, in which the default command starts
    user        USER
    layers      directories of layers (``record.layer_path``), topmost first
    named       whether the image is in storage; a directory image has only a root
    prefix      a program of the image that runs the command, with its arguments
    variables   changes of the environment that the image needs for every command
    own_variables
                whether it has a file of variables for the default command
    recorded    the tree and the manifest of an image that is one file, for --notify
    guesses     whose files nobody saw, as ``ImageStack`` says it of the ``layers``
    kept        the directory of a container that keeps its changes, else empty
    """

    __slots__ = (
        "command",
        "guesses",
        "kept",
        "layers",
        "named",
        "own_variables",
        "prefix",
        "recorded",
        "root",
        "user",
        "variables",
        "workdir",
    )

    def __init__(
        self,
        root: Root,
        command: Sequence[bytes] = (),
        workdir: bytes = b"/",
        *,
        user: bytes = b"",
        layers: Sequence[bytes] = (),
        named: bool,
        prefix: Sequence[bytes] = (),
        variables: Sequence[EnvironmentChange] = (),
        own_variables: bool = False,
        recorded: tuple[bytes, bytes] | None = None,
        guesses: bytes = b"",
        kept: bytes = b"",
    ) -> None:
        self.root = root
        self.command = command
        self.workdir = workdir
        self.user = user
        self.layers = layers
        self.named = named
        self.prefix = prefix
        self.variables = variables
        self.own_variables = own_variables
        self.recorded = recorded
        self.guesses = guesses
        self.kept = kept


def image_name(reference: bytes) -> str | None:
    """Return the canonical form of ``reference``; None if ``reference`` can only be a path."""
    try:
        return canonical_name(reference.decode("ascii"))
    except (ReferenceSyntaxError, UnicodeDecodeError):
        return None


def find_image(
    reference: bytes, storage: Storage, *, arch: bytes = b"", unsafe: bool = False
) -> Image:
    """Return the image that ``reference`` names; a name in ``storage`` beats a directory.

    ``arch`` is as in ``stored_place``; a directory has none.  The function refuses a directory
    inside the storage unless ``unsafe``.  Raises NotInStorage if there is neither.
    """
    image = find_stored(reference, storage, arch)
    if image is None and arch:
        shown, wanted = printable(reference), printable(arch)
        raise NotInStorage(
            f"not in storage: {shown}; --arch chooses among images there",
            f"ch-image pull --arch={wanted} {shown}",
        )
    return image or _find_directory(reference, storage, unsafe=unsafe)


def find_stored(reference: bytes, storage: Storage, arch: bytes = b"") -> Image | None:
    """Return the image with the name ``reference`` in ``storage``, or None."""
    name = image_name(reference)
    if name is None or storage.directory < 0:
        return None
    try:
        place = stored_place(storage.at(b"."), name, arch)
        directory = os.open(place, OPEN_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise closed_storage(storage.path) from None
    return _opened_image(directory, storage)


def find_container(identity: bytes, storage: Storage) -> Image:
    """Return the image of the container ``identity`` in ``storage``, with its changes on top.

    Raises SundogError.
    """
    kept = container_place(identity)
    hint = "see: sundog ps -a"
    if not storage.is_private:
        raise SundogError(f"--container: not a storage of yours: {printable(storage.path)}", hint)
    try:
        directory = os.open(storage.at(kept + b"/" + CONTAINER_IMAGE), OPEN_DIRECTORY)
    except OSError:
        raise SundogError(f"--container: no such container: {printable(identity)}", hint) from None
    return _opened_image(directory, storage, storage.at(kept))


def _opened_image(directory: int, storage: Storage, kept: bytes = b"") -> Image:
    """Return the image that the ``directory`` describes.

    ``kept`` is the directory of a container that keeps its changes.
    """
    # All reads of the image use this descriptor.  Another process may replace the image meanwhile,
    # and the two must not be mixed.
    stack = read_stack(directory, is_use=True)
    if is_shared(storage.path, os.fstat(storage.directory)):
        note_run(storage.directory, [stack.tree] if stack.tree else stack.layers)
    own = b"/proc/self/fd/%d/root" % directory
    root: Root
    if kept and stack.tree:
        raise SundogError("--container: the image has no layers", "see: ch-checkns")
    if stack.tree:
        root = DirectoryRoot(storage.at(b"trees/" + stack.tree), ((own + b"/ch", b"ch"),))
    else:
        layers = [layer + LAYER_TREE for layer in stack.layers]
        lowers = [own, *layers, storage.at(b"skeleton")]
        upper, work = (
            kept + b"/" + name if kept else None for name in (CONTAINER_UPPER, CONTAINER_WORK)
        )
        root = OverlayRoot(storage.at(b"layers"), lowers, upper, work, mixed=stack.has_files)
    return Image(
        root,
        stack.entrypoint + stack.command,
        stack.workdir or b"/",
        user=stack.user,
        layers=[storage.at(b"layers/" + layer) for layer in stack.layers],
        named=True,
        own_variables=True,
        guesses=stack.guesses,
        kept=kept,
    )


def _similar(reference: bytes, storage: Storage) -> str:
    """Return the beginning of a hint that names the image most like ``reference``, or ""."""
    try:  # there is a link for each spelling of a name
        links = os.listdir(storage.at(b"img"))[:_COMPARED_LIMIT]
    except OSError:
        return ""
    names = sorted([spelled_out(printable(link)) for link in links], key=len)
    near = nearest(printable(reference), names)
    return f"did you mean {near}? " if near else ""


def _find_directory(reference: bytes, storage: Storage, *, unsafe: bool) -> Image:
    """Return the directory image ``reference``.

    Raises NotInStorage if there is no such file, SundogError if it is no directory or empty.
    """
    shown = printable(reference)
    if not reference:
        raise SundogError("IMAGE is empty", "is the variable that has its name set?")
    try:
        directory = is_directory(reference)
    except (FileNotFoundError, NotADirectoryError):
        raise NotInStorage(
            f"image not found: {shown}: no such name in storage, and no such file",
            f"{_similar(reference, storage)}the storage is {printable(storage.path)}; "
            "see: ch-image list",
        ) from None
    except OSError as error:
        raise kernel_error("stat", reference, error.errno or 0) from None
    if not directory:
        if not os.access(reference, os.R_OK, effective_ids=True):
            raise kernel_error("open", reference, errno.EACCES)
        raise SundogError(
            f"unknown image type: {shown}",
            "an image is a name in storage, a directory, or a file with SquashFS or SIF; "
            "oci:PATH runs an OCI layout or an archive; see also: ch-image import, ch-image load",
        )
    if not os.access(reference, os.X_OK, effective_ids=True):
        raise kernel_error("open", reference, errno.EACCES)
    path = absolute(reference)
    if not unsafe and _is_stored(path, storage.path):
        raise SundogError("can't run directory images from storage", "run by name")
    return Image(DirectoryRoot(path), named=False)


def _is_stored(path: bytes, storage: bytes) -> bool:
    """Tell whether the directory ``path`` is in the ``storage`` directory.

    The function resolves symbolic links only if ``path`` looks like a path in a storage directory,
    because that costs look-ups.  The check helps users; it is no security boundary.
    """
    if not any(b"/%s/" % name in path + b"/" for name in (b"images", b"layers", b"trees")):
        return False
    try:
        return real_path(path).startswith(real_path(storage) + b"/")
    except OSError:
        return False
