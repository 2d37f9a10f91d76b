"""The calling process: prctl(2), whose failure raises KernelError, and execve(2)."""

from __future__ import annotations

import errno
import os
import sys

from sundog.base.cpython import (
    SIG_BLOCK,
    SIG_DFL,
    SIG_SETMASK,
    SIGHUP,
    SIGINT,
    SIGKILL,
    SIGTERM,
    getsignal,
    pthread_sigmask,
    signal,
)
from sundog.base.kernel.libc import CharPointer, checked, libc_call, syscall
from sundog.base.kernel.numbers import EXECVEAT, SECCOMP, process_abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
_PR_GET_SECCOMP = 21
PR_SET_NAME = 15
PR_SET_SECCOMP = 22
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

_SECCOMP_MODE_FILTER = 2
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_SPEC_ALLOW = 1 << 2
_BPF_INSTRUCTION_SIZE = 8

# The longest string, with its NUL, that execve(2) takes as an argument or variable: MAX_ARG_STRLEN.
STRING_LIMIT = 32 * os.sysconf("SC_PAGE_SIZE")

# Numbers of fields in /proc/PID/stat: the first after the name, and those for the arguments.
_FIRST_FIELD = 3
_ARG_START = 48
_ARG_END = 49


def is_filtered() -> bool:
    """Tell whether this process has a filter of seccomp(2)."""
    return libc_call("prctl", _PR_GET_SECCOMP, 0, 0, 0, 0) != 0


def prctl(option: int, name: bytes, *args: int | bytes) -> None:
    """Call prctl(2); unused arguments are 0, as some options demand.  ``name`` is for messages."""
    checked(libc_call("prctl", option, *args, *([0] * (4 - len(args)))), "prctl", name)


class Umask:
    """Sets the umask of this process, all of its threads, until its context ends: umask(2)."""

    __slots__ = ("_before", "_mask")

    def __init__(self, mask: int) -> None:
        self._mask = self._before = mask

    def __enter__(self) -> None:
        self._before = os.umask(self._mask)

    def __exit__(self, *_: object) -> None:
        os.umask(self._before)


# The signals that interrupt a command: their handlers raise.
_INTERRUPTING = (SIGINT, SIGTERM, SIGHUP)


def fork() -> int:
    """Fork as os.fork does, but let no handler of a signal raise in the middle.

    In the child, the signals of _INTERRUPTING that this process handles have their default action.
    If a handler raises in the parent, the child has been killed.  Raises OSError.
    """
    before = pthread_sigmask(SIG_BLOCK, ())
    child = -1
    try:
        try:
            pthread_sigmask(SIG_BLOCK, _INTERRUPTING)
            child = os.fork()
            if child == 0:
                for number in _INTERRUPTING:
                    if callable(getsignal(number)):
                        signal(number, SIG_DFL)
        finally:
            pthread_sigmask(SIG_SETMASK, before)
    except BaseException:
        if child > 0:
            os.kill(child, SIGKILL)
            _reap(child)
        raise
    return child


def fork_below(directory: int = -1, start: Callable[[], int] = os.fork) -> int:
    """Fork by ``start``, with another root in the middle: ``directory``, or the working directory.

    It must be a /proc.  As of Python 3.12, os.fork opens "/proc/self/stat".  If programs of a
    container have made that name, it may wait for ever.  Below a /proc there is no such name.  A
    process without CAP_SYS_CHROOT keeps its root, and so does one whose working directory is closed
    to it: those have not taken a container's.  Raises OSError.
    """
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        here = os.open(b".", flags)
    except PermissionError:
        return start()
    root = os.open(b"/", flags)
    try:
        _use_root(directory)
        return start()
    finally:
        _use_root(root)
        os.fchdir(here)
        for fd in (root, here):
            os.close(fd)


def _use_root(directory: int) -> None:
    """Make a directory the working directory, and the root if this process may choose it."""
    if directory >= 0:
        os.fchdir(directory)
    try:  # noqa: SIM105 - contextlib takes as long as the rest of a start
        os.chroot(b".")
    except PermissionError:
        pass


def _reap(child: int) -> None:
    """Wait for the end of a child process."""
    try:  # noqa: SIM105 - contextlib takes as long as the rest of a start
        os.waitpid(child, 0)
    except ChildProcessError:
        pass  # this process ignores SIGCHLD


def set_no_new_privs() -> None:
    """Give up all privilege that execve(2) could add, for good and for the children too."""
    prctl(PR_SET_NO_NEW_PRIVS, b"PR_SET_NO_NEW_PRIVS", 1)


def set_pdeathsig(signo: int) -> None:
    """Ask the kernel for ``signo`` when the parent thread dies; 0 cancels that.

    A child of fork(2) does not inherit the request, and a change of credentials cancels it.  The
    kernel sends nothing if the parent died before the call: compare os.getppid() afterwards.
    """
    prctl(_PR_SET_PDEATHSIG, b"PR_SET_PDEATHSIG", signo)


def set_child_subreaper() -> None:
    """Become the parent of orphaned descendants, in place of the namespace's init."""
    prctl(PR_SET_CHILD_SUBREAPER, b"PR_SET_CHILD_SUBREAPER", 1)


def set_dumpable(dumpable: bool) -> None:
    """Set whether the user's other processes may trace this one and use its files in /proc."""
    prctl(PR_SET_DUMPABLE, b"PR_SET_DUMPABLE", int(dumpable))


def clear_command_line(shown: Sequence[bytes] = ()) -> None:
    """Empty /proc/PID/cmdline of this process, but for the words ``shown``: others are private.

    The arguments stay if /proc does not tell their address (fields arg_start and arg_end of
    proc_pid_stat(5)).  Words that need more room than they have are cut off.
    """
    try:
        start, end = argument_area(b"/proc/self/stat")
    except OSError:
        return
    if 0 < start < end:
        text = b"\0".join(shown)[: end - start - 1]  # without a last NUL, the environment shows
        libc_call("memset", start, 0, end - start)
        libc_call("memcpy", start, text, len(text))


def argument_area(stat: bytes) -> tuple[int, int]:
    """Return the first address of a process's arguments, and that after the last; 0 if hidden.

    ``stat`` is the path of its /proc/PID/stat.  Raises OSError.
    """
    fd = os.open(stat, os.O_RDONLY | os.O_CLOEXEC)
    fields = os.read(fd, 4096).rpartition(b")")[2].split()
    os.close(fd)
    return int(fields[_ARG_START - _FIRST_FIELD]), int(fields[_ARG_END - _FIRST_FIELD])


def execve(path: bytes, arguments: list[bytes], strings: list[bytes]) -> int:
    """Replace this program by ``path``; return a negated errno if that fails.

    ``strings`` are the environment.  Unlike os.execve, this function takes any strings: the same
    name twice, no "=", or no name.  It returns -EINVAL if anything contains a NUL.
    """
    if any(b"\0" in text for text in (path, *arguments, *strings)):
        return -errno.EINVAL
    return libc_call("execve", path, _pointer_array(arguments), _pointer_array(strings))


def execveat(
    dirfd: int, path: bytes, arguments: list[bytes], strings: list[bytes], flags: int
) -> int:
    """Replace this program by one relative to ``dirfd``: execveat(2).  As ``execve`` otherwise."""
    if any(b"\0" in text for text in (path, *arguments, *strings)):
        return -errno.EINVAL
    words, environment = _pointer_array(arguments), _pointer_array(strings)
    return syscall(EXECVEAT[process_abi()], dirfd, path, words, environment, flags)


def _pointer_array(texts: list[bytes]) -> bytes:
    """Return the C array of the addresses of ``texts``, with a null pointer at the end.

    The array is valid as long as ``texts`` exist unchanged.
    """
    return b"".join([bytes(memoryview(CharPointer(text))) for text in (*texts, None)])


def install_seccomp_filter(program: bytes) -> None:
    """Put all further system calls of this thread and its children through a BPF ``program``.

    ``program`` is an array of struct sock_filter in this machine's byte order.  The process needs
    no_new_privs, or CAP_SYS_ADMIN in its user namespace.  Nothing removes a filter: seccomp(2).
    """
    pointer = CharPointer(program)
    address = bytes(memoryview(pointer))
    # struct sock_fprog: unsigned short len; struct sock_filter *filter;
    count = (len(program) // _BPF_INSTRUCTION_SIZE).to_bytes(2, sys.byteorder)
    fprog = count.ljust(len(address), b"\0") + address
    # Before Linux 5.16 a filter without this flag switches on costly mitigations of speculative
    # execution, which are for programs that run strangers' code in their own process.
    number = SECCOMP[process_abi()]
    if syscall(number, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, fprog) < 0:
        # A filter around this process may allow only the older call, which has no flags.
        prctl(PR_SET_SECCOMP, b"PR_SET_SECCOMP", _SECCOMP_MODE_FILTER, fprog)
