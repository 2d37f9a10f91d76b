"""End the killed threads of a container that wait in the kernel for a FUSE daemon.

SIGKILL ends such a thread only after the daemon's answer, or after the end of the connection
("Aborting a filesystem connection" in the kernel's fuse.rst).  The kernel ends the connection when
nobody has its device open any more.  A daemon that waits for its own file system, or that shares
its open files with such a thread, keeps the device open for ever.  So this module ends the
connection:

1. by umount2(MNT_FORCE) in the mount namespaces of the threads.  The kernel allows that for file
   systems that were mounted in the container's own user namespaces (Linux 6.15), and so never for
   one of the host that is bound into the container.
2. by the file ``abort`` of the connection, if the host has mounted fusectl.
3. by an error as the answer to each request.  A dying thread has the device open, and
   pidfd_getfd(2) gets it from there (Linux 6.9).  This reaches a file system without a mount.

2 and 3 leave each file system alone that the host has mounted.

A dying thread has its namespaces and open files, although the leader of its process may have lost
its own: /proc/PID/task/TID.  Forked children do the work, and nobody waits long for them.  They
find mount points by what the kernel has in its cache (RESOLVE_CACHED), so they do not wait either.
"""

from __future__ import annotations

import os
import sys
from fcntl import ioctl
from time import monotonic, sleep

from sundog.base.cpython import SIGKILL
from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import checked, printable, syscall
from sundog.base.kernel.mounts import (
    AT_FDCWD,
    MNT_FORCE,
    RESOLVE_CACHED,
    RESOLVE_NO_SYMLINKS,
    openat2,
    umount2,
)
from sundog.base.kernel.namespaces import CLONE_NEWNS, CLONE_NEWUSER, NS_GET_USERNS, setns
from sundog.base.kernel.numbers import PIDFD_GETFD
from sundog.base.kernel.process import fork, fork_below
from sundog.errors import ADMINISTRATOR, Hint, KernelError, SundogError
from sundog.runtime.container.paths import OPEN_DIRECTORY
from sundog.runtime.supervision.fuse_mounts import HostMounts, fuse_mounts, read_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import TypeVar

    _T = TypeVar("_T")

KILLING_PATIENCE = 0.1  # seconds that killed processes have to end by themselves
ENDING_PATIENCE = 8.0  # seconds until it is said that they do not end
_CHILD_PATIENCE = 1.5  # seconds for a forked child
_NAP = 0.002  # seconds

_ABORTING = (
    "mount -t fusectl none /sys/fs/fuse/connections; echo 1 > /sys/fs/fuse/connections/%d/abort"
)
_CONNECTION_FIELD = b"fuse_connection:"  # in /proc/PID/fdinfo
_THREADS_TOLD = 5
_NAMESPACES_ENTERED = 64  # at once

# Fields of proc_pid_stat(5) after the name: the state, the flags, the pending signals.
_STATE_FIELD, _FLAGS_FIELD, _PENDING_FIELD = 0, 6, 28
_PF_EXITING = 0x4  # linux/sched.h
_ENDED_STATES, _WAITING_STATE = (b"Z", b"X", b"x"), b"D"

# struct fuse_out_header: a length, a negated errno, the number of a request.  The numbers are even.
_ANSWER_SIZE = 16
_NOT_CONNECTED = -107
_NUMBERS_TRIED, _NUMBERS_AT_ONCE = 1 << 18, 1 << 11
_REQUEST_SIZE = 1 << 21  # bytes; the kernel refuses to write a request to a smaller buffer
_REQUEST_NUMBER = slice(8, 16)  # in struct fuse_in_header


class Ending:
    """The end of the killed processes of a container.

    This process must have CAP_SYS_ADMIN over the container's user namespace.  ``proc`` is the /proc
    of a PID namespace that has all of them; process IDs are the numbers there.
    """

    __slots__ = ("_host", "_is_repeated", "proc")

    def __init__(self, proc: int, host: HostMounts) -> None:
        self.proc = proc
        self._host = host
        self._is_repeated = False

    def descriptors(self) -> tuple[int, ...]:
        """Return the open descriptors that this process needs."""
        return (self.proc, *self._host.descriptors())

    def end(
        self,
        kill: Callable[[], bool],
        members: Callable[[], Collection[int]],
        wait: Callable[[float], object],
    ) -> None:
        """Call ``kill`` until all have ended, and free those that can't end.

        ``kill`` kills processes, and returns whether all have ended.  ``members`` returns those
        that are left, or none as long as others need their file systems.  ``wait`` waits at most so
        many seconds for the end of one.  Raises SundogError if they do not end.
        """
        began, pause = monotonic(), _NAP
        due = began + KILLING_PATIENCE
        while not kill():
            wait(pause)
            pause = min(2 * pause, KILLING_PATIENCE)
            if monotonic() < due or not (left := members()):
                continue
            if monotonic() > began + ENDING_PATIENCE:
                raise self.failure(left)
            self.free(left)
            due = monotonic() + KILLING_PATIENCE

    def is_stuck(self, process: int) -> bool:
        """Tell whether a thread of ``process`` has been killed and waits in the kernel."""
        return any(state == _WAITING_STATE for _, state in self._dying([process]))

    def seen_from(self, proc: int) -> Ending:
        """Return the same for the process IDs in another /proc."""
        return Ending(proc, self._host)

    def living(self, processes: Collection[int]) -> list[int]:
        """Return those of the ``processes`` that have not ended; zombies have."""
        return [
            process
            for process in processes
            if any(self._state(thread) not in _ENDED_STATES for thread in self._threads(process))
        ]

    def free(self, processes: Collection[int]) -> None:
        """Make the file systems answer for which dying threads of ``processes`` wait."""
        entered: set[int] = set()
        for thread, _ in self._dying(processes):
            try:
                namespace = os.open(
                    thread + b"ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc
                )
            except OSError:
                continue
            inode = os.fstat(namespace).st_ino
            if inode not in entered and len(entered) < _NAMESPACES_ENTERED:
                entered.add(inode)
                self._do_apart(self._unmount, namespace)
            os.close(namespace)
        if self._is_repeated:  # that was not enough
            self._do_apart(self._abort, processes)
        self._is_repeated = True

    def _do_apart(self, call: Callable[[_T], None], argument: _T) -> None:
        """Call ``call`` in a child process, whose failure means nothing; wait for it briefly."""
        child = fork_below(self.proc, fork)
        if child == 0:
            try:
                call(argument)
            finally:
                os._exit(0)
        deadline = monotonic() + _CHILD_PATIENCE
        while monotonic() < deadline:
            try:
                if os.waitpid(child, os.WNOHANG)[0]:
                    return
            except ChildProcessError:
                return
            sleep(_NAP)
        os.kill(child, SIGKILL)

    def failure(self, processes: Collection[int]) -> SundogError:
        """Return the error that says which of the ``processes`` do not end, and what ends them."""
        told, mounts = [], []
        for thread, _ in self._dying(processes):
            told.append(thread.split(b"/")[2].decode())
            mounts += self._mounts(thread)
        shown = ", ".join(told[:_THREADS_TOLD]) + (", …" if len(told) > _THREADS_TOLD else "")
        if not mounts:
            return SundogError(
                f"processes of the container do not end: {shown}",
                "they wait in the kernel, perhaps for a file server: see /proc/PID/stack as root",
            )
        number, path = mounts[0]
        return SundogError(
            f"processes of the container do not end: {shown}:"
            f" they wait for its FUSE file system at {printable(path)}",
            Hint("", ADMINISTRATOR, _ABORTING % number),
        )

    def _unmount(self, namespace: int) -> None:
        """Abort all connections of a mount ``namespace`` that belong to its user namespaces."""
        owner = ioctl(namespace, NS_GET_USERNS)
        own = os.stat(b"self/ns/user", dir_fd=self.proc)
        if os.fstat(owner).st_ino != own.st_ino:
            setns(owner, CLONE_NEWUSER)
        setns(namespace, CLONE_NEWNS)
        os.fchdir(self.proc)
        aborted = set()
        # The mounts below another one come after it, and are reached through it.
        for number, path in reversed(self._mounts(b"self/")):
            if number in aborted:
                continue
            try:
                flags = os.O_PATH | os.O_NOFOLLOW
                mount = openat2(AT_FDCWD, path, flags, RESOLVE_CACHED | RESOLVE_NO_SYMLINKS)
                aborted.add(number)
                umount2(b"self/fd/%d" % mount, MNT_FORCE)
            except KernelError:
                continue  # EBUSY after it was aborted; EPERM if this is not possible

    def _abort(self, processes: Collection[int]) -> None:
        """Abort all connections of dying threads in the two ways that need no mount."""
        foreign = self._host.connections()
        done = set()
        for thread, _ in self._dying(processes):
            devices = [*self._devices(thread)]
            for number in {
                *(number for number, _ in self._mounts(thread)),
                *map(_number_of, devices),
            }:
                if number not in done and number not in foreign and self._host.abort(number):
                    done.add(number)
            for number, fd in devices:
                if number in done or number in foreign:
                    continue
                done.add(number)
                try:
                    self._answer(thread, fd, processes)
                except (OSError, KernelError):
                    continue  # it has ended, or this is not possible

    def _answer(self, thread: bytes, fd: int, processes: Collection[int]) -> None:
        """Answer all requests of the device ``fd`` of a ``thread`` with an error.

        Stop if no thread of ``processes`` waits any more.
        """
        process = os.pidfd_open(self._number_here(thread), os.O_EXCL)  # PIDFD_THREAD
        device = checked(syscall(PIDFD_GETFD, process, fd, 0), "pidfd_getfd", b"/dev/fuse")
        os.set_inheritable(device, False)
        os.set_blocking(device, False)
        try:
            while True:  # ENODEV at the end of the connection
                _refuse_request(device, os.read(device, _REQUEST_SIZE)[_REQUEST_NUMBER])
        except BlockingIOError:
            pass  # the daemon has read the others
        for number in range(2, _NUMBERS_TRIED, 2):
            _refuse_request(device, number.to_bytes(8, sys.byteorder))
            if number % _NUMBERS_AT_ONCE == 0 and not any(self._dying(processes)):
                return

    def _number_here(self, thread: bytes) -> int:
        """Return the number of a ``thread`` in this process's PID namespace."""
        numbers, own = [
            text.partition(b"NSpid:")[2].partition(b"\n")[0].split()
            for text in (
                _file_of_proc(self.proc, thread + b"status"),
                _file_of_proc(self.proc, b"self/status"),
            )
        ]
        return int(numbers[len(own) - 1])

    def _devices(self, thread: bytes) -> Iterator[tuple[int, int]]:
        """Return the devices that a ``thread`` has open: numbers of connections, descriptors."""
        directory = os.open(thread + b"fdinfo", OPEN_DIRECTORY, dir_fd=self.proc)
        readable = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        for fd in os.listdir(readable):
            _, found, value = _file_of_proc(self.proc, thread + b"fdinfo/" + fd.encode()).partition(
                _CONNECTION_FIELD
            )
            if found:
                yield int(value.split()[0]), int(fd)

    def _mounts(self, thread: bytes) -> list[tuple[int, bytes]]:
        """Return the file systems of FUSE that a ``thread`` has, without those of the host."""
        foreign = self._host.connections()
        return [
            (number, path)
            for number, path in fuse_mounts(_file_of_proc(self.proc, thread + b"mountinfo"))
            if number not in foreign
        ]

    def _dying(self, processes: Collection[int]) -> Iterator[tuple[bytes, bytes]]:
        """Return directories and states of the threads that have been killed and have not ended."""
        for process in processes:
            for thread in self._threads(process):
                fields = _fields_of(self.proc, thread)
                if (
                    fields
                    and fields[_STATE_FIELD] not in _ENDED_STATES
                    and _has_been_killed(fields)
                ):
                    yield thread, fields[_STATE_FIELD]

    def _threads(self, process: int) -> list[bytes]:
        """Return the directories of the threads of ``process``."""
        name = b"%d/task/" % process
        try:
            directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.proc)
        except OSError:
            return []
        try:
            return [name + b"%b/" % thread.encode() for thread in os.listdir(directory)]
        except OSError:
            return []
        finally:
            os.close(directory)

    def _state(self, thread: bytes) -> bytes:
        fields = _fields_of(self.proc, thread)
        return fields[_STATE_FIELD] if fields else _ENDED_STATES[0]


def waiting(proc: int, process: int) -> tuple[bool, bool]:
    """Tell whether ``process`` waits in the kernel, and whether it has been killed."""
    fields = _fields_of(proc, b"%d/" % process)
    if not fields:  # it has gone
        return False, False
    return fields[_STATE_FIELD] == _WAITING_STATE, _has_been_killed(fields)


def _fields_of(proc: int, thread: bytes) -> list[bytes]:
    """Return the fields after the name in the directory of a process or thread; none if gone."""
    return _file_of_proc(proc, thread + b"stat").rpartition(b")")[2].split()


def _file_of_proc(proc: int, path: bytes) -> bytes:
    """Return a file of /proc, b"" if it has gone or is closed to this process."""
    try:
        with Closing(os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)) as fd:
            return read_list(fd)
    except OSError:
        return b""


def _has_been_killed(fields: list[bytes]) -> bool:
    """Tell whether a thread has taken SIGKILL, or whether it is pending."""
    return bool(
        int(fields[_FLAGS_FIELD]) & _PF_EXITING or int(fields[_PENDING_FIELD]) >> SIGKILL - 1 & 1
    )


def _refuse_request(device: int, request: bytes) -> None:
    """Answer a ``request`` with an error, if there is one with this number."""
    size, error = (
        n.to_bytes(4, sys.byteorder, signed=True) for n in (_ANSWER_SIZE, _NOT_CONNECTED)
    )
    try:
        os.write(device, size + error + request)
    except OSError:
        return


def _number_of(pair: tuple[int, int]) -> int:
    """Return the number of a connection, of a pair of ``_devices``."""
    return pair[0]
