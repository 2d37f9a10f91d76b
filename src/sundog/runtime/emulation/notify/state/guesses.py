"""Files of the image whose owners nobody saw, because a RUN recorded none: ``record.guesses``.

Such a file shows root as its owner, because nothing else is known.  If its mode refuses something
to another user, that user counts as its owner instead: the RUN that made the file may well have
given it away.  The supervisor looks only when it is about to refuse, so nothing else gets slower.

The file's path tells its layer.  The topmost layer that holds a file decides.  A layer also holds
each directory in which it changed something, so the lowest one decides about a directory.  A record
in one of these layers says who owns the file.  What the container itself made is never guessed.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.modes import S_IFDIR, S_IFMT
from sundog.base.kernel.mounts import RESOLVE_NO_XDEV, openat2
from sundog.base.record.guesses import OWNERS_GUESSED, Guesses, read_guesses
from sundog.errors import KernelError
from sundog.runtime.emulation.notify.state.files import ONLY_ABOVE, PLAINLY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.base.record.owners import OwnersManifest
    from sundog.runtime.emulation.notify.state.files import Status
    from sundog.runtime.emulation.notify.tracee.paths import Paths

_COVERED = -1  # as a mode: a file takes the place of a directory above
_LOST_OWNERS_HINT = (
    "refused: /%s counts as root's, because the image has lost whose files its RUN instructions "
    "made: build it with --force=notify"
)


class GuessedLayer:
    """A layer: its ``tree``, a descriptor; its ``manifest``; its letter of ``record.guesses``.

    ``list_fd`` is a descriptor of the list of a OWNERS_LISTED layer, else -1.
    """

    __slots__ = ("_marks", "letter", "list_fd", "manifest", "tree")

    def __init__(
        self, tree: int, manifest: OwnersManifest, letter: bytes, list_fd: int = -1
    ) -> None:
        self.tree = tree
        self.manifest = manifest
        self.letter = letter
        self.list_fd = list_fd
        self._marks: Guesses | None = None

    def marks(self) -> Guesses:
        """Return the marks of the layer.  The first call reads them."""
        if self._marks is None:
            if self.list_fd >= 0:
                self._marks = read_guesses(self.list_fd)
            else:
                self._marks = Guesses({b"": self.letter == OWNERS_GUESSED})
        return self._marks

    def mode(self, path: bytes) -> int | None:
        """Return the mode of ``path`` in the layer, None if it is not there, or _COVERED."""
        try:
            flags = os.O_PATH | os.O_NOFOLLOW
            fd = openat2(self.tree, path or b".", flags, PLAINLY | RESOLVE_NO_XDEV)
        except KernelError as error:
            return None if error.errno == errno.ENOENT else _COVERED
        with Closing(fd):
            return os.fstat(fd).st_mode

    def hides_below(self, path: bytes) -> bool:
        """Tell whether the layer hides what lower layers have at ``path``, a file or directory."""
        while path:
            record = self.manifest.get(path)
            if record is not None and (record.kind == "w" or record.opaque):
                return True
            path = path.rpartition(b"/")[0]
        record = self.manifest.get(b"")
        return record is not None and record.opaque


class OwnerGuesses:
    """Tells whether nobody saw whose a file of the root file system is.

    ``layers`` are those of the image, topmost first; ``is_lost`` says that nobody knows which files
    these are.  ``tell`` gets a line for people at the first refusal that this explains.  Make it in
    the container's root directory.
    """

    def __init__(
        self, layers: Sequence[GuessedLayer], tell: Callable[[str], None], *, is_lost: bool
    ) -> None:
        self._layers = layers
        self._tell = tell
        self._is_lost = is_lost
        self._has_told = False
        self._device = os.stat(b"/").st_dev

    def covers(self, status: Status, paths: Paths) -> bool:
        """Tell whether the file that ``status`` describes, which has no record, is such a file."""
        if status.device != self._device or status.kernel_uid != 0:
            return False
        if status.overlay_side() == ONLY_ABOVE:
            return False
        path = _path_from_root(status, paths)
        if any(layer.list_fd >= 0 and layer.marks().is_lost for layer in self._layers):
            self._is_lost = True
        if not self._is_lost:
            return self._is_unseen(path)
        if not self._has_told:
            self._has_told = True
            self._tell(_LOST_OWNERS_HINT % path.decode("utf-8", "backslashreplace"))
        return False

    def _is_unseen(self, path: bytes) -> bool:
        unseen = merges = False
        for layer in self._layers:
            record, mode = layer.manifest.get(path), layer.mode(path)
            if mode is not None:
                is_directory = mode != _COVERED and mode & S_IFMT == S_IFDIR
                if mode == _COVERED or (merges and not is_directory):
                    break
                if record is not None and (record.uid or record.gid or not record.opaque):
                    return False
                unseen = layer.marks().has(path)
                merges = is_directory
                if not merges:
                    break
            if layer.hides_below(path):
                break
        return unseen


def _path_from_root(status: Status, paths: Paths) -> bytes:
    """Return the path of a file from the supervisor's own root, without a slash at its begin.

    The supervisor may have taken on the root of a caller.  Raises OSError.
    """
    with Closing(status.open()) as fd:
        if not paths.elsewhere:
            return os.readlink(b"self/fd/%d" % fd).lstrip(b"/")
        with Closing(os.open(b"/", os.O_PATH | os.O_CLOEXEC)) as present:
            paths.leave_root()
            try:
                return os.readlink(b"self/fd/%d" % fd).lstrip(b"/")
            finally:
                os.chroot(b"self/fd/%d" % present)
