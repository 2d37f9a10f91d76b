"""Calls of 32-bit programs that differ from those of the supervisor: narrower structures and IDs.

The calls are i386's, also when a 64-bit program makes them with ``int 0x80``.  They have the
kernel's names for i386: ``getuid`` takes 16-bit IDs, ``getuid32`` does what getuid(2) does
elsewhere.  All calls that are not here have the same arguments and structures as on x86-64.
"""

from __future__ import annotations

import errno

from sundog.base.cpython import Struct
from sundog.runtime.emulation.notify.handlers.access import AccessHandlers
from sundog.runtime.emulation.notify.handlers.ids import IdentityHandlers
from sundog.runtime.emulation.notify.handlers.limits import LimitHandlers
from sundog.runtime.emulation.notify.handlers.messages import MessageHandlers
from sundog.runtime.emulation.notify.handlers.stat import StatHandlers
from sundog.runtime.emulation.notify.handlers.sysv import SysvHandlers
from sundog.runtime.emulation.notify.identity.credentials import UNCHANGED
from sundog.runtime.emulation.notify.tracee.messages import NARROW_MESSAGE
from sundog.runtime.emulation.notify.tracee.narrow import (
    DIRENT64,
    MAX_NON_LFS,
    OLD_STAT,
    SHORT_ID,
    SHORT_STAT,
    STAT64,
    U16,
    StatForm,
    narrow_entries,
    narrow_offsets,
    short_id,
)
from sundog.runtime.emulation.notify.tracee.narrow_sysv import SYSV_FORMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.record import Record
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.state.sysv import SysvKind
    from sundog.runtime.emulation.notify.tracee.call import Answer, Arguments, Handler

_STATX_BASIC_STATS = 0x7FF

# Names for the calls of the stat family here, and for those of StatHandlers.
_STAT_CALLS = {
    "stat64": "stat",
    "lstat64": "lstat",
    "fstat64": "fstat",
    "fstatat64": "newfstatat",
}
# Calls with IDs as arguments, and the indices of the first and the last of these.
_SHORT_ARGUMENTS = {
    "chown": (1, 2),
    "lchown": (1, 2),
    "fchown": (1, 2),
    "setuid": (0, 0),
    "setgid": (0, 0),
    "setfsuid": (0, 0),
    "setfsgid": (0, 0),
    "setreuid": (0, 1),
    "setregid": (0, 1),
    "setresuid": (0, 2),
    "setresgid": (0, 2),
}


def narrow_handlers(state: State, common: dict[str, Handler]) -> dict[str, Handler]:
    """Return the handlers by i386's name of the call; ``common`` are those of other ABIs."""
    stat64 = NarrowStatHandlers(state, STAT64).calls()
    short_stat = NarrowStatHandlers(state, SHORT_STAT).calls()
    old_stat = NarrowStatHandlers(state, OLD_STAT).calls()
    return {
        **{name: stat64[call] for name, call in _STAT_CALLS.items()},
        **{name: short_stat[name] for name in ("stat", "lstat", "fstat")},
        **{f"old{name}": old_stat[name] for name in ("stat", "lstat", "fstat")},
        **{name: stat64[name] for name in ("getdents", "getdents64")},
        **_ShortIdentityHandlers(state).calls(),
        **{name: widened(common[name], *where) for name, where in _SHORT_ARGUMENTS.items()},
        **_NarrowLimitHandlers(state).calls(),
        "utimensat": _NarrowAccessHandlers(state).utimensat,
        **_NarrowSysvHandlers(state).calls(),
        **_NarrowMessageHandlers(state).calls(),
    }


class NarrowStatHandlers(StatHandlers):
    """Show owners and types in one generation of ``struct stat``."""

    def __init__(self, state: State, form: StatForm) -> None:
        super().__init__(state)
        self._form = form

    def shown(self, place: bytes, record: Record) -> bytes:
        """Return the structure for the file at ``place``, changed by what ``record`` says."""
        files = self._state.files
        files.statx(place, 0, _STATX_BASIC_STATS)
        return self._form.packed(files.emulated_statx(record))

    def getdents(self, thread: int, args: Arguments) -> Answer:
        """int getdents(unsigned fd, struct compat_linux_dirent *entries, unsigned size)."""
        return self._list(thread, args, "getdents", name=DIRENT64.size, type_last=False)

    def read_entries(self, directory: int, _call: str, size: int) -> bytearray:
        """Return what getdents64 reads from a descriptor.  Raises KernelAnswers if it fails."""
        return super().read_entries(directory, "getdents64", size)

    def write_entries(self, thread: int, address: int, entries: bytes, call: str) -> int:
        """Write ``entries`` in the form of ``call``; return the number of bytes."""
        form = narrow_entries if call == "getdents" else narrow_offsets
        try:
            return super().write_entries(thread, address, form(entries), call)
        except OverflowError:
            # The kernel could say that only of the entries that come after these.
            return -errno.EOVERFLOW


class _ShortIdentityHandlers(IdentityHandlers):
    """Tell IDs in 16 bits, and take groups so."""

    id_form = SHORT_ID

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {
            "getuid": self._short(self.getuid),
            "geteuid": self._short(self.geteuid),
            "getgid": self._short(self.getgid),
            "getegid": self._short(self.getegid),
            "getresuid": self.getresuid,
            "getresgid": self.getresgid,
            "getgroups": self.getgroups,
            "setgroups": self.setgroups,
        }

    def shown(self, value: int) -> int:
        """Return the ID by which the calls show ``value``."""
        return short_id(value)

    def meant(self, value: int) -> int:
        """Return the ID that a caller means by ``value``."""
        return wide_id(value)

    def _short(self, handler: Handler) -> Handler:
        return lambda thread, args: short_id(handler(thread, args) or 0)


class _NarrowAccessHandlers(AccessHandlers):
    """Read the times of utimensat(2) in 32 bits."""

    timespecs = Struct("=iiii")


class _NarrowMessageHandlers(MessageHandlers):
    """Read and write the headers of messages with 32-bit pointers."""

    form = NARROW_MESSAGE

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call; recvmmsg(2) has a second name here."""
        calls = super().calls()
        return {**calls, "recvmmsg_time64": calls["recvmmsg"]}


class _NarrowSysvHandlers(SysvHandlers):
    """Show System V objects in the structures of 32-bit programs, those with IPC_64."""

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call; semtimedop(2) has another name here."""
        calls = super().calls()
        return {**calls, "semtimedop_time64": calls["semtimedop"]}

    def wanted(self, thread: int, kind: SysvKind, pointer: int) -> tuple[int, int, int, int]:
        """Return owner, group, mode and size that a structure of IPC_SET names."""
        form = SYSV_FORMS[kind.name]
        return form.wanted(self._state.memory.read(thread, pointer, form.narrow.size))

    def written(self, kind: SysvKind, structure: bytes) -> bytes:
        """Return the kernel's ``structure`` in the form of the caller's ABI."""
        return SYSV_FORMS[kind.name].narrowed(structure)


class _NarrowLimitHandlers(LimitHandlers):
    """Show and set limits of 32 bits; prlimit64 is the same everywhere."""

    form = Struct("=II")
    infinity = 0xFFFFFFFF

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {
            "getrlimit": self.old_getrlimit,
            "ugetrlimit": self.getrlimit,
            "setrlimit": self.setrlimit,
        }

    def old_getrlimit(self, thread: int, args: Arguments) -> Answer:
        """int old_getrlimit(RLIMIT_LOCKS, struct rlimit *limit), whose limits are signed."""
        return self.show(thread, args[1], self._tags.credentials(thread), MAX_NON_LFS)


def widened(handler: Handler, first: int, last: int) -> Handler:
    """Return ``handler`` for a call whose arguments ``first`` to ``last`` are 16-bit IDs."""
    end = last + 1
    return lambda thread, args: handler(
        thread, (*args[:first], *map(wide_id, args[first:end]), *args[end:])
    )


def wide_id(value: int) -> int:
    """Return the ID that the low 16 bits of ``value`` mean; all ones mean -1."""
    return UNCHANGED if value & U16 == U16 else value & U16
