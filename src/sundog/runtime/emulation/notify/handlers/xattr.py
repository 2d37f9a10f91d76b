"""setxattr(2), getxattr(2), listxattr(2), removexattr(2), and the four ways to name a file to each.

    setxattr(path, name, value, size, flags)        listxattr(path, list, size)
    getxattr(path, name, value, size)               removexattr(path, name)

Calls with ``l`` in front do not follow a symbolic link; those with ``f`` take a descriptor.  Calls
with ``at`` behind (Linux 6.13) have three arguments in place of the path: descriptor, path, flags.
setxattrat and getxattrat have value, size and flags in a structure.  ``state.attributes`` does what
the calls ask for.
"""

from __future__ import annotations

import errno

from sundog.base.cpython import Struct
from sundog.base.kernel.modes import S_IFDIR, S_IFMT, S_IFREG, S_ISVTX
from sundog.base.kernel.mounts import AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW
from sundog.runtime.emulation.notify.identity.permissions import MAY_READ, MAY_WRITE
from sundog.runtime.emulation.notify.state.access import Access
from sundog.runtime.emulation.notify.state.attributes import (
    USER_PREFIX,
    XATTR_CREATE,
    XATTR_NAME_MAX,
    XATTR_REPLACE,
    XATTR_SIZE_MAX,
    Attributes,
)
from sundog.runtime.emulation.notify.state.files import is_read_only
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, U32, Answer, KernelAnswers
from sundog.runtime.emulation.notify.tracee.paths import CWD, descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.emulation.notify.identity.credentials import Credentials
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

    # Returns the location that a call's arguments name, and whether to follow a link there.
    _Locate = Callable[[int, Arguments], tuple[bytes, bool]]
    # The last argument is the place of the file, or b"" if nobody has looked it up.
    _Action = Callable[[int, Arguments, "_Way", bytes], Answer]

_XATTR_ARGS = Struct("=QII")  # struct xattr_args: value, size, flags


class _Way:
    """A way to name a file: ``locate`` finds it, and at index ``rest`` the other arguments begin.

    ``is_packed`` tells that value, size and flags are in a structure.
    """

    __slots__ = ("is_packed", "locate", "rest")

    def __init__(self, locate: _Locate, rest: int = 1, *, is_packed: bool = False) -> None:
        self.locate = locate
        self.rest = rest
        self.is_packed = is_packed


class AttributeHandlers:
    """Record attributes, and show recorded ones."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._paths = state.paths
        self._attributes = Attributes(state)
        self._access = Access(state)

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        actions = {
            "{}setxattr{}": self._set,
            "{}getxattr{}": self._get,
            "{}listxattr{}": self._list,
            "{}removexattr{}": self._remove,
        }
        ways = {
            ("", ""): _Way(self._path),
            ("l", ""): _Way(self._link),
            ("f", ""): _Way(self._open_file),
            ("", "at"): _Way(self._at, 3, is_packed=True),
        }
        wanted = {"{}setxattr{}": MAY_WRITE, "{}getxattr{}": MAY_READ, "{}removexattr{}": MAY_WRITE}
        return {
            call.format(*affixes): self._bound(action, way, wanted.get(call, 0))
            for call, action in actions.items()
            for affixes, way in ways.items()
        }

    def _bound(self, action: _Action, way: _Way, wanted: int) -> Handler:
        """Return the handler that does ``action`` for a call that names its file in this ``way``.

        ``wanted`` is as for ``_require``.
        """

        def handle(thread: int, args: Arguments) -> Answer:
            who = self._access.user(thread)
            place = b"" if who is None else self._require(thread, who, args, way, wanted)
            if who is None and wanted == MAY_WRITE and self._state.records.has_listed:
                location, follow = way.locate(thread, args)
                self._access.meet(thread, location, follow=follow)
            return action(thread, args, way, place)

        return handle

    def _require(
        self, thread: int, who: Credentials, args: Arguments, way: _Way, wanted: int
    ) -> bytes:
        """Require that another user than root may use an attribute (fs/xattr.c, xattr_permission).

        ``wanted`` is what the caller does to the file if its attribute begins with "user.".
        Returns the place of the file.
        """
        access = self._access
        name = self._state.memory.read_string(thread, args[way.rest]) if wanted else b""
        location, follow = way.locate(thread, args)
        if wanted and not 0 < len(name) <= XATTR_NAME_MAX:
            raise KernelAnswers
        place = access.file(thread, location, follow=follow)
        if wanted == MAY_WRITE and is_read_only(place):
            raise KernelAnswers
        if name.startswith(USER_PREFIX):
            status = self._state.files.status(place)
            kind = status.mode & S_IFMT
            if kind not in (S_IFREG, S_IFDIR):
                return place  # only these have such attributes
            if kind == S_IFDIR and status.mode & S_ISVTX and wanted == MAY_WRITE:
                access.be_owner(thread, who, place, status)
            access.require(thread, who, place, status, wanted)
        return place

    def _place(self, thread: int, args: Arguments, way: _Way) -> bytes:
        """Return the place of the file that a call of root names."""
        location, follow = way.locate(thread, args)
        return self._state.lookup.file(thread, location, follow=follow)

    # The four ways to name a file

    def _path(self, thread: int, args: Arguments) -> tuple[bytes, bool]:
        return self._paths.named(thread, CWD, args[0]), True

    def _link(self, thread: int, args: Arguments) -> tuple[bytes, bool]:
        return self._paths.named(thread, CWD, args[0]), False

    def _open_file(self, thread: int, args: Arguments) -> tuple[bytes, bool]:
        if not self._state.files.is_open_for_io(thread, args[0]):
            raise KernelAnswers
        return descriptor(thread, args[0]), True

    def _at(self, thread: int, args: Arguments) -> tuple[bytes, bool]:
        if args[2] & U32 & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
            raise KernelAnswers
        return self._paths.at(thread, args[0], args[1], args[2])

    # The four calls

    def _set(self, thread: int, args: Arguments, way: _Way, place: bytes) -> Answer:
        name = self._name(thread, args[way.rest])
        address, size, flags = self._values(thread, args, way)
        flags &= U32
        if size > XATTR_SIZE_MAX or flags & ~(XATTR_CREATE | XATTR_REPLACE):
            return CONTINUE
        value = self._state.memory.read(thread, address, size)
        place = place or self._place(thread, args, way)
        return self._attributes.set(thread, place, name, value, flags)

    def _get(self, thread: int, args: Arguments, way: _Way, place: bytes) -> Answer:
        if not self._state.records.attributes:
            return CONTINUE
        name = self._name(thread, args[way.rest])
        address, size, flags = self._values(thread, args, way)
        if way.is_packed and flags:
            return CONTINUE
        value = self._attributes.get(thread, place or self._place(thread, args, way), name)
        return self._hand_over(thread, address, size, value)

    def _list(self, thread: int, args: Arguments, way: _Way, place: bytes) -> Answer:
        if not self._state.records.attributes:
            return CONTINUE
        names = self._attributes.list(thread, place or self._place(thread, args, way))
        return self._hand_over(thread, args[way.rest], args[way.rest + 1], names)

    def _remove(self, thread: int, args: Arguments, way: _Way, place: bytes) -> Answer:
        name = self._name(thread, args[way.rest])
        return self._attributes.remove(thread, place or self._place(thread, args, way), name)

    def _name(self, thread: int, address: int) -> bytes:
        """Return the name at ``address``; raise KernelAnswers if the kernel alone shall answer."""
        name = self._state.memory.read_string(thread, address)
        if len(name) > XATTR_NAME_MAX or not self._attributes.are_emulated(name):
            raise KernelAnswers
        return name

    def _values(self, thread: int, args: Arguments, way: _Way) -> Arguments:
        """Return address and size of the value, and the flags, which mean nothing for getxattr."""
        start = way.rest + 1
        if not way.is_packed:
            return args[start : start + 3]
        if args[start + 1] != _XATTR_ARGS.size:
            raise KernelAnswers
        return _XATTR_ARGS.unpack(self._state.memory.read(thread, args[start], _XATTR_ARGS.size))

    def _hand_over(self, thread: int, address: int, size: int, value: bytes | Answer) -> Answer:
        """Write ``value`` as getxattr(2) does, and return its length; pass on an answer."""
        if not isinstance(value, bytes):
            return value
        if size == 0:
            return len(value)
        if size < len(value):
            return -errno.ERANGE
        self._state.listener.confirm()
        return self._state.memory.write(thread, address, value) or len(value)
