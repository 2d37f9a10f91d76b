"""link(2), unlink(2), rename(2) and their families, after which a name may mean another file.

The handlers refuse what other users than root may not do.  The kernel does the rest: records belong
to inodes, so names do not matter.  The exception are hard links in a lower layer: each name gets
its own inode when a change copies it up (``state.records``).  The handlers keep those names right.
"""

from __future__ import annotations

import errno

from sundog.base.kernel.files import RENAME_EXCHANGE, RENAME_NOREPLACE
from sundog.base.kernel.modes import S_IFDIR, S_IFMT
from sundog.base.kernel.mounts import AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW
from sundog.runtime.emulation.notify.state.access import Access
from sundog.runtime.emulation.notify.state.files import AT_SYMLINK_FOLLOW
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, U32, Answer, KernelAnswers
from sundog.runtime.emulation.notify.tracee.paths import CWD, is_place, parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.files import Name
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

_AT_REMOVEDIR = 0x200

# A name in a call: the descriptor of a directory, and the address of a path.
_Words = tuple[int, int]


class LinkHandlers:
    """Follow the names of hard links."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._linked = state.records.linked
        self._access = Access(state)

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {
            "link": self.link,
            "linkat": self.linkat,
            "unlink": self.unlink,
            "unlinkat": self.unlinkat,
            "rmdir": self.rmdir,
            "rename": self.rename,
            "renameat": self.renameat,
            "renameat2": self.renameat2,
        }

    def link(self, thread: int, args: Arguments) -> Answer:
        """int link(const char *old, const char *new)."""
        old = self._state.paths.named(thread, CWD, args[0])
        return self._link(thread, old, (CWD, args[1]), follow=False)

    def linkat(self, thread: int, args: Arguments) -> Answer:
        """int linkat(int olddirfd, const char *old, int newdirfd, const char *new, int flags)."""
        if not args[1] and not args[4] & U32 & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH):
            return -errno.EFAULT  # before Linux 6.10, the kernel has another error for users
        follow = bool(args[4] & AT_SYMLINK_FOLLOW)
        location, is_descriptor = self._state.paths.at(
            thread, args[0], args[1], args[4] & AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW
        )
        follow = follow or is_descriptor
        return self._link(thread, location, (args[2], args[3]), follow=follow)

    def unlink(self, thread: int, args: Arguments) -> Answer:
        """int unlink(const char *path)."""
        return self._unlink(thread, (CWD, args[0]), is_directory=False)

    def unlinkat(self, thread: int, args: Arguments) -> Answer:
        """int unlinkat(int dirfd, const char *path, int flags)."""
        is_directory = bool(args[2] & _AT_REMOVEDIR)
        return self._unlink(thread, (args[0], args[1]), is_directory=is_directory)

    def rmdir(self, thread: int, args: Arguments) -> Answer:
        """int rmdir(const char *path)."""
        return self._unlink(thread, (CWD, args[0]), is_directory=True)

    def rename(self, thread: int, args: Arguments) -> Answer:
        """int rename(const char *old, const char *new)."""
        return self._rename(thread, (CWD, args[0]), (CWD, args[1]), 0)

    def renameat(self, thread: int, args: Arguments) -> Answer:
        """int renameat(int olddirfd, const char *old, int newdirfd, const char *new)."""
        return self._rename(thread, (args[0], args[1]), (args[2], args[3]), 0)

    def renameat2(self, thread: int, args: Arguments) -> Answer:
        """int renameat2(int olddirfd, const char *old, int newdirfd, const char *new, unsigned)."""
        return self._rename(thread, (args[0], args[1]), (args[2], args[3]), args[4])

    def _link(self, thread: int, location: bytes, new: _Words, *, follow: bool) -> Answer:
        """Record a file that the call will copy up, while it has only its old name."""
        records, who = self._state.records, self._access.user(thread)
        if who is not None:
            further = self._state.paths.named(thread, *new)
            self._access.link(thread, who, location, further, follow=follow)
        if not self._linked and records.pins.upper < 0:
            return CONTINUE
        place = self._access.file(thread, location, follow=follow)
        status = self._state.files.found(place, follow=True)
        if self._linked and status.name() in self._linked:
            records.find(status.changed())
        elif status.mode & S_IFMT != S_IFDIR:
            records.expect_link(status)
        return CONTINUE

    def _unlink(self, thread: int, words: _Words, *, is_directory: bool) -> Answer:
        who = self._access.user(thread)
        if who is not None:
            place = self._place(thread, words)
            self._access.remove(thread, who, place, is_directory=is_directory)
        self._expect_removal(thread, words)
        if self._linked:
            self._linked.pop(self._name(thread, words)[0], None)
        return CONTINUE

    def _rename(self, thread: int, old: _Words, new: _Words, flags: int) -> Answer:
        who = self._access.user(thread)
        if who is not None:
            self._access.rename(
                thread,
                who,
                self._place(thread, old),
                self._place(thread, new),
                exchange=bool(flags & RENAME_EXCHANGE),
                replace=not flags & RENAME_NOREPLACE,
            )
        self._expect_removal(thread, new)
        for words in (old, new) if flags & RENAME_EXCHANGE else (old,):
            self._access.meet(thread, self._state.paths.named(thread, *words), follow=False)
        if not self._linked:
            return CONTINUE
        (old_name, old_inode), (new_name, new_inode) = (
            self._name(thread, old),
            self._name(thread, new),
        )
        if old_inode in (-1, new_inode) or (flags & RENAME_NOREPLACE and new_inode != -1):
            return CONTINUE  # the call changes no name
        moved = self._linked.pop(old_name, None)
        replaced = self._linked.pop(new_name, None)
        if moved is not None:
            self._linked[new_name] = moved
        if replaced is not None and flags & RENAME_EXCHANGE:
            self._linked[old_name] = replaced
        return CONTINUE

    def _expect_removal(self, thread: int, words: _Words) -> None:
        """Tell the records that a name of a file with a record may go, if they must know that."""
        records = self._state.records
        if not records.follows_removals:
            return
        location = self._state.paths.named(thread, *words)
        found = self._access.recorded(thread, location, follow=False)
        if found is not None:
            records.expect_removal(found)

    def _place(self, thread: int, words: _Words) -> bytes:
        """Return the place of a name in a call."""
        return self._access.entry(thread, self._state.paths.named(thread, *words))

    def _name(self, thread: int, words: _Words) -> tuple[Name, int]:
        """Return a name in a call, and the inode number of the file there; -1 if none is there."""
        files = self._state.files
        place = self._place(thread, words).rstrip(b"/")
        if is_place(place):
            raise KernelAnswers
        directory = files.status(parent(place)).inode
        return (directory, place.rpartition(b"/")[2]), files.find_inode(place, AT_SYMLINK_NOFOLLOW)
