"""The emulator of another machine, registered for the containers of this process alone.

Since Linux 6.7 each user namespace may have a binfmt_misc of its own.  Its entries hold for the
namespaces below, and hide those of the namespaces above.  So nothing is registered if programs of
the machine run anyway.  Nobody finds the file system: it has no mount point, or it is covered.  Its
entry lasts until no descriptor of it is open, and no mount namespace has it.

The kernel opens the emulator when it is registered (flag F): an image needs none, and can give none
of its own.  The container's programs can reach that file, by /proc/PID/exe.  So it is opened on a
read-only mount, which no namespace has: where the file is the user's own, they can't write to it
all the same.  Flag P keeps argv[0].  Without flag C, an emulator never gets the rights of a set-ID
program; ``notify`` emulates these.

Specification: Documentation/admin-guide/binfmt-misc.rst.
"""

from __future__ import annotations

import errno
import os
from select import POLLIN, poll

from sundog.base.cpython import SIGKILL
from sundog.base.kernel.files import Closing, write_all
from sundog.base.kernel.libc import kernel_error, printable
from sundog.base.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    FSCONFIG_CMD_CREATE,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    OPEN_TREE_CLONE,
    fsconfig,
    fsmount,
    fsopen,
    mount_setattr,
    move_mount,
    open_tree,
)
from sundog.base.kernel.namespaces import CLONE_NEWNS, unshare
from sundog.base.kernel.process import fork
from sundog.base.kernel.stub import discard_child_signal
from sundog.errors import ADMINISTRATOR, EmulatorMissing, Hint, KernelError, SundogError
from sundog.runtime.container.enter import enter_namespaces, mount_scratch
from sundog.runtime.process.emulator import (
    elf_pattern,
    find_emulator,
    foreign_machine,
    trial_program,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

_FILE_SYSTEM = b"binfmt_misc"
_REGISTER = b"register"
_ENTRY = b"qemu-%s"
_FLAGS = b"PF"
# A directory of proc(5) that is always empty.  So what covers it keeps nobody from mounting a proc
# of his own: mount_too_revealing() in fs/namespace.c.
_PLACE = b"/proc/sys/fs/binfmt_misc"
_KERNEL_HINTS = {errno.ENODEV: Hint("", ADMINISTRATOR, "modprobe binfmt_misc")}
_NEWER_KERNEL = (
    "Linux 6.7 and newer let them; an administrator can register QEMU for all users (package "
    "qemu-user-binfmt)"
)

INSTALL = "install a static one (package qemu-user-static), or name it: CH_QEMU=FILE"
_PATIENCE = 10_000  # milliseconds for the trial
_RAN, _FAILED = 0, -1
_REFUSED, _NOT_EXECUTED = b"r", b"x"  # how a trial failed; the errno follows
_REPORT_SIZE = 3


class Emulator:
    """The program at ``path``, which runs programs of another ``machine``."""

    __slots__ = ("_machine", "_path")

    def __init__(self, machine: str, path: bytes) -> None:
        self._machine = machine
        self._path = path

    def open(self) -> OpenEmulator:
        """Open it, where the host's files are still to be seen; call it in namespaces of your own.

        Raises KernelError.
        """
        program = open_tree(AT_FDCWD, self._path, OPEN_TREE_CLONE)
        mount_setattr(program, b"", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV)
        return OpenEmulator(self._machine, self._path, program)


class OpenEmulator:
    """The emulator of a ``machine``, as the mount ``program`` of that one file."""

    __slots__ = ("_machine", "_path", "_program")

    def __init__(self, machine: str, path: bytes, program: int) -> None:
        self._machine = machine
        self._path = path
        self._program = program

    def register(self) -> int:
        """Register it in this process's user namespace; return the mount that keeps the entry.

        The user namespace must be one of this process's own, and map 0; nobody else must have made
        a binfmt_misc for it.  The emulator is closed then.  Raises KernelError.
        """
        mounted = own_binfmt_misc()
        name = _ENTRY % self._machine.encode()
        magic, mask = map(_escaped, elf_pattern(self._machine))
        # The kernel opens this path now, and passes it on as the emulator's first argument.
        path = b"/proc/self/fd/%d" % self._program
        text = b":".join((b"", name, b"M", b"0", magic, mask, path, _FLAGS))
        try:
            with Closing(os.open(_REGISTER, os.O_WRONLY | os.O_CLOEXEC, dir_fd=mounted)) as file:
                os.write(file, text)
        except OSError as error:
            os.close(mounted)
            raise kernel_error("write", name, error.errno or 0) from None
        finally:
            os.close(self._program)
        return mounted

    def register_above(self) -> None:
        """Register it in a new user namespace, and move this process into another one below.

        The process keeps its IDs, and can change none of its mounts any more: ``lock_mounts``.  A
        mount that is covered keeps the entry, as long as a process is in the mount namespace.
        Imports nothing.  Raises SundogError.
        """
        uid, gid = os.geteuid(), os.getegid()
        try:
            enter_namespaces(0, 0)
            mounted = self.register()
        except KernelError as error:
            raise refusal(error.errno) from None
        self.check(_try(self._machine, _leave_mounts))
        cover = open_tree(AT_FDCWD, _PLACE, OPEN_TREE_CLONE)
        for tree in (mounted, cover):
            move_mount(tree, b"", AT_FDCWD, _PLACE, MOVE_MOUNT_F_EMPTY_PATH)
            os.close(tree)
        enter_namespaces(uid, gid)

    def check(self, answer: int) -> None:
        """Raise SundogError if the ``answer`` is that of a trial which failed."""
        if answer == _RAN:
            return
        reason = os.strerror(answer) if answer > 0 else "a trial failed"
        raise SundogError(
            f"{printable(self._path)} does not run programs of {self._machine}: {reason}",
            f"name a static qemu-{self._machine}: CH_QEMU=FILE",
        )


def needed_emulator(machine: str, environment: Mapping[bytes, bytes]) -> Emulator | None:
    """Return the emulator that programs of ``machine`` need here; None if they run without more.

    ``environment`` has $CH_QEMU and $PATH.  Raises SundogError if there is none that works.
    """
    path = _wanted(machine, environment, lambda: enter_namespaces(0, 0))
    if not path:
        return None
    emulator = Emulator(machine, path)

    def prepare() -> None:
        enter_namespaces(0, 0)
        emulator.open().register()

    OpenEmulator(machine, path, -1).check(_try(machine, prepare))
    return emulator


def opened_emulator(head: bytes, environment: Mapping[bytes, bytes]) -> OpenEmulator | None:
    """Return the emulator for a program that begins with ``head``; None if it needs none.

    Call it in namespaces of your own, where ``register_above`` can't be called yet: the root
    directory must be that of the mount namespace.  Raises SundogError.
    """
    machine = foreign_machine(head)
    path = _wanted(machine, environment, _leave_mounts) if machine else b""
    return Emulator(machine, path).open() if path else None


def _wanted(machine: str, environment: Mapping[bytes, bytes], prepare: Callable[[], None]) -> bytes:
    """Return the path of the emulator for ``machine``; b"" if its programs run without more."""
    answer = _try(machine, prepare)
    if answer == _RAN:
        return b""
    path = find_emulator(machine, environment)
    if not path and answer != errno.ENOENT:  # an entry whose emulator only the image may have
        raise EmulatorMissing(
            f"no emulator for programs of {machine}: no qemu-{machine} in $PATH", INSTALL
        )
    return path


def _leave_mounts() -> None:
    """Let this process's mounts be its own."""
    unshare(CLONE_NEWNS)


def _try(machine: str, prepare: Callable[[], None]) -> int:
    """Run a tiny program of ``machine``; return 0, the errno of execve(2), or -1.

    Its process calls ``prepare``.  Raises SundogError if that fails.
    """
    failures, reports = os.pipe()
    child = fork()
    if child == 0:
        _be_program(machine, prepare, reports)
    os.close(reports)
    with Closing(failures):
        failure = os.read(failures, _REPORT_SIZE)
    status = _status_of(child)
    discard_child_signal()
    number = int.from_bytes(failure[1:], "little")
    if failure.startswith(_REFUSED):
        raise refusal(number)
    if failure:
        return number
    return _RAN if status == 0 else _FAILED


def _be_program(machine: str, prepare: Callable[[], None], reports: int) -> NoReturn:
    """Become the program; if that fails, write why to ``reports``, and exit.

    The root directory has no other file, as an image has none of the host's.
    """
    failure = _REFUSED
    try:
        prepare()
        null = os.open(b"/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for stream in range(3):
            os.dup2(null, stream)
        os.fchdir(mount_scratch())
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with Closing(os.open(b"program", flags, 0o755)) as file:
            write_all(file, trial_program(machine))
        os.chroot(b".")
        failure = _NOT_EXECUTED
        os.execve(b"/program", [b"program"], {})
    except (KernelError, OSError) as error:
        os.write(reports, failure + (error.errno or 0).to_bytes(2, "little"))
    finally:
        os._exit(1)


def _status_of(child: int) -> int:
    """Wait for the end of the trial; return its wait status, 0 if the caller ignores SIGCHLD."""
    try:
        with Closing(os.pidfd_open(child)) as process:
            ended = poll()
            ended.register(process, POLLIN)
            if not ended.poll(_PATIENCE):
                os.kill(child, SIGKILL)
        return os.waitpid(child, 0)[1]
    except (ChildProcessError, ProcessLookupError):
        return 0


def own_binfmt_misc() -> int:
    """Make the binfmt_misc of this process's user namespace; return its mount.

    Raises KernelError: EPERM before Linux 6.7.
    """
    with Closing(fsopen(_FILE_SYSTEM)) as context:
        fsconfig(context, FSCONFIG_CMD_CREATE)
        attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
        return fsmount(context, attributes)


def refusal(number: int) -> SundogError:
    """Return the error for a kernel that lets users register nothing, and says ``number``."""
    return SundogError(
        f"users can't register emulators of other machines: {os.strerror(number)}",
        _KERNEL_HINTS.get(number, _NEWER_KERNEL),
    )


def _escaped(data: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in data)
