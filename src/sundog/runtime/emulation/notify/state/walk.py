"""A look-up step by step, as the caller's own: see ``lookup``.

The walk opens one directory after the other, and follows links itself.  In the root directory of a
/proc, ``self`` and ``thread-self`` become the numbers of the caller there.  The links of a process
(``fd/3``, ``cwd``, ``root``, ``exe``) are followed if it is no supervisor, and is in the caller's
user namespace: the caller could trace such a process itself.  All other links of processes are left
to the kernel.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.modes import S_IFDIR, S_IFLNK, S_IFMT
from sundog.base.kernel.mounts import (
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)
from sundog.errors import KernelError
from sundog.runtime.emulation.notify.state.files import file_system_type
from sundog.runtime.emulation.notify.tracee.call import KernelAnswers
from sundog.runtime.emulation.notify.tracee.descriptors import process_status, status_text
from sundog.runtime.emulation.notify.tracee.paths import SLASH, is_place, start_of_walk
from sundog.runtime.emulation.notify.tracee.tag import SUPERVISOR_MARK, soft_limit_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    # Called with a descriptor of a directory in which a name is looked up.
    Visit = Callable[[int], None]

    class OpenFiles(Protocol):
        """The answers about open files that a walk needs: see ``Files``."""

        def find_open(self, fd: int, /) -> int: ...  # noqa: D102

        def found_mode(self) -> int: ...  # noqa: D102


PROC_SUPER_MAGIC = 0x9FA0  # linux/magic.h
PROC_ROOT_INO = 1
_SYMLINKS_LIMIT = 40
_ST_NOSYMFOLLOW = 0x2000
LIMITS_SIZE = 4096
_NOTHING_TELLS = -1
_STEP_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
NO_NAMES = (b"", b".", b"..")
_OWN_LINKS = (b"self", b"thread-self")
_PROCESS_LINKS = (b"cwd", b"root", b"exe")
_WITHIN = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS


class Walk:
    """The way to ``location`` for ``thread``; it is walked once.

    ``visit`` is called with a descriptor of each directory in which a name is looked up;
    ``Files.found`` knows the directory then.

    stream      the descriptor through whose link in /proc the walk has ended, b"" for none
    """

    def __init__(self, files: OpenFiles, thread: int, location: bytes, visit: Visit | None) -> None:
        self._files = files
        self._thread = thread
        self._visit = visit
        self._links = 0
        self.stream = b""
        end = 1 if location[0] == SLASH else start_of_walk(location)
        start = location if is_place(location) else location[:end]
        self._at = os.open(start, os.O_PATH | os.O_CLOEXEC)
        self._rest = [] if is_place(location) else _steps(location[end:])
        # Then the end must be a directory.
        self._slash = b"/" if location.endswith(b"/") else b""

    def end(self, *, follow: bool, is_named: bool) -> tuple[int, bytes]:
        """Walk to the end, and return a descriptor of it; or of a directory, and a name there.

        It is a name if ``is_named`` says so, and if the walk ends with one.  Only with ``follow``
        the walk leads through a link at the end.  The caller closes the descriptor.
        """
        follow = follow or bool(self._slash and not is_named)
        self._arrive()
        while self._rest:
            name = self._rest.pop()
            self.stream = b""
            is_last = not self._rest
            is_end = is_named and is_last
            if is_end and name in NO_NAMES:
                break
            if is_end and not follow:
                return self._at, name + self._slash
            if name == b".":
                self._require_directory()
                continue
            try:
                child = os.open(name, _STEP_FLAGS, dir_fd=self._at)
            except FileNotFoundError:
                if not is_end:
                    raise
                return self._at, name + self._slash
            try:
                self._files.find_open(child)
                if self._files.found_mode() & S_IFMT == S_IFLNK and not (is_last and not follow):
                    self._follow(name, child)
                elif is_end:
                    return self._at, name + self._slash
                else:
                    if is_last and file_system_type(child) == PROC_SUPER_MAGIC:
                        self._require_stranger()
                    child, self._at = self._at, child
                    if not is_last and self._visit is not None:
                        self._visit(self._at)
            finally:
                os.close(child)
        if self._slash:
            self._require_directory()
        return self._at, b""

    def give_up(self) -> None:
        """Close what the walk has open, if it does not reach its end."""
        os.close(self._at)

    def _follow(self, name: bytes, link: int) -> None:
        """Follow ``link``, an open symbolic link that is ``name`` in the present directory."""
        self._links += 1
        if self._links > _SYMLINKS_LIMIT or os.fstatvfs(link).f_flag & _ST_NOSYMFOLLOW:
            raise KernelAnswers
        if file_system_type(link) != PROC_SUPER_MAGIC:
            self._require_followed(name)
            target = os.readlink(b"", dir_fd=link)
        elif not self._is_proc():
            self._go(self._file_of_process(name))
            self._arrive()
            return
        elif name in _OWN_LINKS:
            target = self._own(name)
        else:
            target = os.readlink(b"", dir_fd=link)
        if not target:
            raise KernelAnswers
        if not self._rest and target.endswith(b"/"):
            self._slash = b"/"
        if target[0] == SLASH:
            self._go(os.open(b"/", os.O_PATH | os.O_CLOEXEC))
        self._rest += _steps(target)
        if target[0] == SLASH:
            self._arrive()

    def _go(self, fd: int) -> None:
        """Go on at ``fd``."""
        os.close(self._at)
        self._at = fd

    def _arrive(self) -> None:
        """Visit the present directory if a name is to be looked up in it."""
        if self._rest and self._visit is not None:
            self._files.find_open(self._at)
            self._visit(self._at)

    def _require_directory(self) -> None:
        self._files.find_open(self._at)
        if self._files.found_mode() & S_IFMT != S_IFDIR:
            raise KernelAnswers

    def _require_followed(self, name: bytes) -> None:
        """Require that the kernel follows the link ``name``: fs.protected_symlinks of proc(5).

        The kernel says so before it goes to the target, which may be on another mount.
        """
        try:
            resolve = RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV
            os.close(openat2(self._at, name, os.O_PATH, resolve))
        except KernelError as error:
            if error.errno == errno.EACCES:
                raise KernelAnswers from error

    def _is_proc(self) -> bool:
        """Tell whether the walk is in the root directory of a /proc."""
        is_root = self._files.find_open(self._at) == PROC_ROOT_INO
        return is_root and file_system_type(self._at) == PROC_SUPER_MAGIC

    def _own(self, name: bytes) -> bytes:
        """Return the target of ``self`` or ``thread-self`` for the caller, in this /proc.

        The /proc may be of a PID namespace where the caller has another number than here.
        """
        try:
            if os.readlink(b"self", dir_fd=self._at) == os.readlink(b"self"):
                return b"%d" % self._thread  # a directory that is not listed; it is good for both
        except FileNotFoundError:
            pass  # this process has no number there
        numbers = _identifiers(process_status(self._thread))
        for level, number in enumerate(numbers[0]):
            status = self._open(b"%d/status" % number)
            if status < 0:
                continue
            with Closing(status):
                there = _identifiers(status_text(status))
            if there[0] == numbers[0][level:]:
                is_self = name == b"self"
                return b"%d" % number if is_self else b"%d/task/%d" % (number, numbers[1][level])
        raise KernelAnswers

    def _file_of_process(self, name: bytes) -> int:
        """Return the file to which a link of a process leads, if the caller may follow it."""
        if name not in _PROCESS_LINKS and not name.isdigit():
            raise KernelAnswers
        process = b"../" if name.isdigit() else b""
        if self._limit(process) in (SUPERVISOR_MARK, _NOTHING_TELLS) or self._is_own(process):
            raise KernelAnswers
        space = os.stat(process + b"ns/user", dir_fd=self._at)
        own = os.stat(b"%d/ns/user" % self._thread)
        if (space.st_dev, space.st_ino) != (own.st_dev, own.st_ino):
            raise KernelAnswers
        if name.isdigit() and not self._rest:
            self.stream = name
        return os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=self._at)

    def _require_stranger(self) -> None:
        """Require that the present directory, in a /proc, is not a supervisor's."""
        for process in (b"", b"../"):
            limit = self._limit(process)
            if limit != _NOTHING_TELLS and (limit == SUPERVISOR_MARK or self._is_own(process)):
                raise KernelAnswers

    def _is_own(self, process: bytes) -> bool:
        """Tell whether the directory ``process`` is that of this process, or may be.

        Any process of the user can take the mark away (prlimit(2)).  Other supervisors without it
        stay closed, because the kernel lets this process trace none of them.
        """
        status = self._open(process + b"status")
        if status < 0:
            return True
        with Closing(status):
            there, _ = _identifiers(status_text(status))
        with Closing(os.open(b"self/status", os.O_RDONLY | os.O_CLOEXEC)) as fd:
            own, _ = _identifiers(status_text(fd))
        return own[-len(there) :] == there

    def _limit(self, process: bytes) -> int:
        """Return the limit that has the tag, of the process with the directory ``process``.

        Returns _NOTHING_TELLS if it is no directory of a process.
        """
        limits = self._open(process + b"limits")
        if limits < 0:
            return _NOTHING_TELLS
        with Closing(limits):
            return soft_limit_in(os.read(limits, LIMITS_SIZE))

    def _open(self, path: bytes) -> int:
        """Open a file of this /proc for reading; return -1 if a mount hides it, or it is gone."""
        try:
            return openat2(self._at, path, os.O_RDONLY, _WITHIN)
        except KernelError:
            return -1


def _steps(path: bytes) -> list[bytes]:
    """Return the components of ``path``, the last one first."""
    return [name for name in reversed(path.split(b"/")) if name]


def _identifiers(status: bytes) -> tuple[list[int], list[int]]:
    """Return the numbers of a process and of its thread, in each PID namespace, outermost first.

    ``status`` is the text of /proc/PID/status.
    """
    fields = dict(line.split(b":", 1) for line in status.splitlines() if b":" in line)
    process, thread = (
        [int(word) for word in fields.get(name, b"").split()] for name in (b"NStgid", b"NSpid")
    )
    return process, thread
