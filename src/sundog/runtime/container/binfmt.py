"""The emulator of another machine, registered for the containers of this process alone.

Since Linux 6.7 each user namespace may have a binfmt_misc of its own.  Its entries hold for the
namespaces below, and hide those of the namespaces above.  So nothing is registered if programs of
the machine run anyway.  The file system has no mount point: nobody finds it.  Its entry lasts until
the last descriptor of it is closed, or the last mount namespace that has it is gone.

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

from sundog.base.kernel.files import STDERR_FILENO, STDIN_FILENO, STDOUT_FILENO, Closing, write_all
from sundog.base.kernel.libc import kernel_error, printable
from sundog.base.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    FSCONFIG_CMD_CREATE,
    MNT_DETACH,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    OPEN_TREE_CLONE,
    UMOUNT_NOFOLLOW,
    fsconfig,
    fsmount,
    fsopen,
    mount_setattr,
    move_mount,
    open_tree,
    umount2,
)
from sundog.errors import ADMINISTRATOR, EmulatorMissing, Hint, KernelError, SundogError
from sundog.runtime.container.enter import enter_namespaces, mount_scratch
from sundog.runtime.process.child import Child, opened
from sundog.runtime.process.emulator import elf_pattern, find_emulator, trial_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FILE_SYSTEM = b"binfmt_misc"
_REGISTER = b"register"
_ENTRY = b"qemu-%s"
_FLAGS = b"PF"
_DELIMITERS = range(1, 32)  # one that the emulator's path has not
_KERNEL_HINTS = {errno.ENODEV: Hint("", ADMINISTRATOR, "modprobe binfmt_misc")}
_NEWER_KERNEL = (
    "Linux 6.7 and newer let them; an administrator can register QEMU for all users (package "
    "qemu-user-binfmt)"
)

INSTALL = "install a static one (package qemu-user-static), or name it: CH_QEMU=FILE"
_PATIENCE = 10.0  # seconds for the trial
_RAN, _FAILED = 0, -1


class Emulator:
    """The program at ``path``, which runs programs of another ``machine``."""

    __slots__ = ("machine", "path")

    def __init__(self, machine: str, path: bytes) -> None:
        self.machine = machine
        self.path = path

    def register(self) -> int:
        """Register it in this process's user namespace; return the mount that keeps the entry.

        The user namespace must be one of this process's own, and map 0.  Raises SundogError.
        """
        mounted = own_binfmt_misc()
        delimiter = next(bytes([each]) for each in _DELIMITERS if each not in self.path)
        magic, mask = map(_escaped, elf_pattern(self.machine))
        name = _ENTRY % self.machine.encode()
        fields = (b"", name, b"M", b"0", magic, mask, self.path, _FLAGS)
        tree = open_tree(AT_FDCWD, self.path, OPEN_TREE_CLONE)
        mount_setattr(tree, b"", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV)
        with Closing(tree):
            move_mount(tree, b"", AT_FDCWD, self.path, MOVE_MOUNT_F_EMPTY_PATH)
        try:
            with Closing(os.open(_REGISTER, os.O_WRONLY | os.O_CLOEXEC, dir_fd=mounted)) as file:
                os.write(file, delimiter.join(fields))
        except OSError as error:
            os.close(mounted)
            what = f"register {printable(self.path)}"
            raise kernel_error("write", name, error.errno or 0, what) from None
        finally:
            umount2(self.path, MNT_DETACH | UMOUNT_NOFOLLOW)
        return mounted


def needed_emulator(machine: str, environment: Mapping[bytes, bytes]) -> Emulator | None:
    """Return the emulator that programs of ``machine`` need here; None if they run without more.

    ``environment`` has $CH_QEMU and $PATH.  Raises SundogError if there is none that works.
    """
    answer = _try(machine)
    if answer == _RAN:
        return None
    path = find_emulator(machine, environment)
    if not path and answer == errno.ENOENT:
        return None  # there is an entry whose emulator only the image may have
    if not path:
        raise EmulatorMissing(
            f"no emulator for programs of {machine}: no qemu-{machine} in $PATH", INSTALL
        )
    emulator = Emulator(machine, path)
    if answer := _try(machine, emulator):
        reason = os.strerror(answer) if answer > 0 else "a trial failed"
        raise SundogError(
            f"{printable(path)} does not run programs of {machine}: {reason}",
            f"name a static qemu-{machine}: CH_QEMU=FILE",
        )
    return emulator


def _try(machine: str, emulator: Emulator | None = None) -> int:
    """Run a tiny program of ``machine``, registered or not; return 0, an errno, or -1.

    Its root directory has no other file, as an image has none of the host's.
    """

    def be_program(_tie: Callable[[], None]) -> int:
        enter_namespaces(0, 0)
        if emulator is not None:
            emulator.register()
        null = os.open(b"/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for stream in (STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO):
            os.dup2(null, stream)
        os.fchdir(mount_scratch())
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with Closing(os.open(b"program", flags, 0o755)) as file:
            write_all(file, trial_program(machine))
        os.chroot(b".")
        try:
            os.execve(b"/program", [b"program"], {})
        except OSError as error:
            return error.errno or _FAILED

    child = Child(be_program, ())
    answer = child.answer()
    if not answer and not child.ends_within(_PATIENCE):
        child.kill()
        return _FAILED
    status = child.wait()
    if not answer:
        return _RAN if status == 0 else _FAILED
    result = opened(answer)
    return result if isinstance(result, int) else _FAILED


def own_binfmt_misc() -> int:
    """Make the binfmt_misc of this process's user namespace; return its mount.

    Raises SundogError.
    """
    try:
        with Closing(fsopen(_FILE_SYSTEM)) as context:
            fsconfig(context, FSCONFIG_CMD_CREATE)
            attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
            return fsmount(context, attributes)
    except KernelError as error:
        raise SundogError(
            f"users can't register emulators of other machines: {os.strerror(error.errno)}",
            _KERNEL_HINTS.get(error.errno, _NEWER_KERNEL),
        ) from None


def _escaped(data: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in data)
