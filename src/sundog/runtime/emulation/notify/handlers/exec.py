"""execve(2) and execveat(2): who the process will be.

The kernel runs the program, and does not change the user, because no other user exists here.  The
supervisor sets the caller's tag before the call, by the set-ID bits, the recorded owner and the
capabilities of the program.  It does not hear whether the call succeeds, so it first looks whether
it can.  A program that gets other IDs than its caller's is told so (``tracee.secure_start``).
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.modes import S_IFMT, S_IFREG, S_ISGID, S_ISUID, S_IXGRP
from sundog.base.record.magic import ELF_MAGIC
from sundog.runtime.emulation.notify.identity.capabilities import (
    CAP_SYS_PTRACE,
    SECURITY_CAPABILITY,
    FileCapabilities,
    parse_file_capabilities,
)
from sundog.runtime.emulation.notify.identity.credentials import (
    Credentials,
    after_execve,
    gains,
    is_secure,
)
from sundog.runtime.emulation.notify.identity.permissions import EXECUTABLE, MAY_EXEC
from sundog.runtime.emulation.notify.state.access import Access
from sundog.runtime.emulation.notify.state.chmod import settled
from sundog.runtime.emulation.notify.state.lookup import names_own
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, Answer
from sundog.runtime.emulation.notify.tracee.descriptors import status_field
from sundog.runtime.emulation.notify.tracee.paths import CWD, located
from sundog.runtime.emulation.notify.tracee.secure_start import (
    AT_EGID,
    AT_EUID,
    AT_GID,
    AT_SECURE,
    AT_UID,
)
from sundog.runtime.process.executable import INTERPRETERS_LIMIT, SCRIPT_HEAD_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.files import Status
    from sundog.runtime.emulation.notify.state.record import Record
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

_NOTHING = (None, None, None)  # no user, no group and no capabilities


class ExecuteHandlers:
    """Change credentials as a program starts."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._access = Access(state)

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {"execve": self.execve, "execveat": self.execveat}

    def execve(self, thread: int, args: Arguments) -> Answer:
        """int execve(const char *path, char *const argv[], char *const envp[])."""
        self._state.records.nursery.release()
        if self._state.records.is_empty() and self._state.tags.index(thread) == 0:
            return CONTINUE  # root stays root
        return self._execute(thread, self._state.paths.named(thread, CWD, args[0]), follow=True)

    def execveat(self, thread: int, args: Arguments) -> Answer:
        """int execveat(int dirfd, const char *path, char *const argv[], char *const[], int)."""
        self._state.records.nursery.release()
        location, follow = self._state.paths.at(thread, args[0], args[1], args[4])
        return self._execute(thread, location, follow=follow)

    def _execute(self, thread: int, location: bytes, *, follow: bool) -> Answer:
        state = self._state
        index = state.tags.index(thread)
        if (
            index == 0
            and not names_own(location)
            and state.files.find_inode(location, 0) not in state.records.by_inode
        ):
            return CONTINUE  # root stays root
        old = state.tags.table[index]
        who = old if index else None
        place = self._place(thread, who, location, follow=follow)
        record = state.records.find(state.files.status(place))
        if record is not None and record.device_type:
            return -errno.EACCES
        program = self._program(thread, who, place)
        if not program:
            return CONTINUE
        status = settled(state, program, state.files.status(program))
        record = state.records.find(status)
        owner, group = (0, 0) if record is None else (record.uid, record.gid)
        given = (
            owner if status.mode & S_ISUID else None,
            group if status.mode & S_ISGID and status.mode & S_IXGRP else None,
            self._file_capabilities(program, record),
        )
        if given != _NOTHING and self._is_nosuid(program, status):
            given = _NOTHING
        new = after_execve(old, *given)
        if isinstance(new, Credentials) and gains(old, new) and self._is_traced_by_user(thread):
            new = after_execve(old, *given, is_traced=True)
        if isinstance(new, int):
            return new
        state.listener.confirm()
        if is_secure(old, new):
            return self._start_securely(thread, new)
        return CONTINUE if state.tags.set(thread, new) else -errno.ENOMEM

    def _start_securely(self, thread: int, new: Credentials) -> Answer:
        """Let the kernel start a program that must not trust its caller."""
        ids = {AT_UID: new.ruid, AT_EUID: new.euid, AT_GID: new.rgid, AT_EGID: new.egid}
        try:
            begun = self._state.secure_starts.begin(thread, {**ids, AT_SECURE: 1})
        except OSError as error:
            return -(error.errno or errno.EAGAIN)
        with Closing(begun):
            if not self._state.tags.set(thread, new):
                return -errno.ENOMEM
            return self._state.listener.let_kernel_answer()

    def _is_nosuid(self, program: bytes, status: Status) -> bool:
        """Tell whether a program is on a mount with ``nosuid``.

        The container's root may be so mounted because its storage is, or because FUSE serves it.
        Then its file system does not count.
        """
        if not os.statvfs(program).f_flag & os.ST_NOSUID:
            return False
        root = self._state.paths.own_root() or b"/"
        is_roots = os.stat(root).st_dev == status.device
        return not (is_roots and os.statvfs(root).f_flag & os.ST_NOSUID)

    def _is_traced_by_user(self, thread: int) -> bool:
        """Tell whether a process without CAP_SYS_PTRACE traces ``thread``."""
        tracer = int(status_field(thread, b"TracerPid") or 0)
        return bool(tracer) and not self._state.tags.credentials(tracer).can(CAP_SYS_PTRACE)

    def _file_capabilities(self, program: bytes, record: Record | None) -> FileCapabilities | None:
        """Return what the attribute security.capability of ``program`` grants; None without it."""
        recorded = record.xattrs.get(SECURITY_CAPABILITY) if record and record.xattrs else None
        try:
            return parse_file_capabilities(recorded or os.getxattr(program, SECURITY_CAPABILITY))
        except OSError:
            return None

    def _place(
        self, thread: int, who: Credentials | None, location: bytes, *, follow: bool = True
    ) -> bytes:
        """Return the place of a program, which ``who`` must be allowed to execute; None may."""
        if who is None:
            return self._state.lookup.file(thread, location, follow=follow)
        return self._access.use(thread, who, location, MAY_EXEC, follow=follow)

    def _program(self, thread: int, who: Credentials | None, place: bytes) -> bytes:
        """Return the program that the kernel will start, which decides about IDs; b"" for none.

        The program of a script is its interpreter.  ``who`` is as for ``_place``.
        """
        for _ in range(INTERPRETERS_LIMIT):
            status = self._state.files.status(place)
            if status.mode & S_IFMT != S_IFREG or not status.mode & EXECUTABLE:
                return b""
            with Closing(os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)) as fd:
                head = os.read(fd, SCRIPT_HEAD_SIZE)
            if head.startswith(ELF_MAGIC):
                return place
            words = head[2:].partition(b"\n")[0].split(None, 1)
            if not head.startswith(b"#!") or not words:
                return b""
            interpreter = located(thread, CWD, words[0])
            self._state.served.check_location(thread, interpreter)
            place = self._place(thread, who, interpreter)
        return b""
