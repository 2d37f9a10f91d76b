"""mount(2) and fsconfig(2) with an owner: ``uid=1000``, ``gid=5``; mounts that nobody may make.

The namespace maps one user and one group, so the kernel refuses options that name others (EINVAL).
The supervisor mounts without them.  It records the owner of the root directory of a tmpfs, but not
if fsconfig(2) named the owner: no call tells which directory that will be.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.mounts import FSCONFIG_SET_STRING, MS_BIND, MS_REMOUNT, fsconfig, mount
from sundog.base.kernel.namespaces import CLONE_NEWNS, setns
from sundog.base.kernel.process import fork_below
from sundog.errors import KernelError
from sundog.runtime.emulation.notify.identity.capabilities import CAP_SYS_ADMIN
from sundog.runtime.emulation.notify.state.served import is_served
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, U32, Answer
from sundog.runtime.emulation.notify.tracee.descriptors import take_descriptor
from sundog.runtime.emulation.notify.tracee.paths import CWD
from sundog.runtime.emulation.notify.tracee.processes import owns_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

_MS_MOVE = 0x2000
_MS_PROPAGATION = 0x1E0000  # MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED
_MS_MGC_MASK, _MS_MGC_VAL = 0xFFFF0000, 0xC0ED0000
_OTHER_ACTIONS = MS_BIND | _MS_MOVE | _MS_PROPAGATION

# The file systems that a user may mount (FS_USERNS_MOUNT), and those that show a namespace, which
# must be the user's own: its name in /proc/PID/ns.
_MOUNTABLE = frozenset((b"tmpfs", b"ramfs", b"devpts", b"overlay", b"fuse", b"binfmt_misc", b"bpf"))
_SHOWING = {
    b"proc": b"pid",
    b"sysfs": b"net",
    b"mqueue": b"ipc",
    b"cgroup": b"cgroup",
    b"cgroup2": b"cgroup",
}
_SHOWN_SIZE = 32  # bytes of a name, for people

_OWNER_OPTIONS = (b"uid", b"gid")
# The file systems with these options that a user may mount, and whether they are the owner of the
# root directory.
_OWNED = {b"tmpfs": True, b"devpts": False}


class MountHandlers:
    """Mount file systems whose owners the namespace does not map."""

    def __init__(self, state: State) -> None:
        self._state = state

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {"mount": self.mount, "fsopen": self.fsopen, "fsconfig": self.fsconfig}

    def mount(self, thread: int, args: Arguments) -> Answer:
        """int mount(const char *source, const char *target, const char *type, unsigned long, data).

        The fourth argument are flags.
        """
        state = self._state
        state.listener.before_mount()
        state.processes.forget()
        if not state.tags.credentials(thread).can(CAP_SYS_ADMIN):
            # Errors of the path come before EPERM.
            self._place(thread, args[1])
            return -errno.EPERM
        flags = args[3] & U32
        if flags & _MS_MGC_MASK == _MS_MGC_VAL:
            flags &= ~_MS_MGC_MASK
        if flags & _OTHER_ACTIONS or not args[2]:
            return CONTINUE
        kind = state.memory.read_string(thread, args[2])
        if is_served(kind):
            state.served.begin(thread)
        if not flags & MS_REMOUNT:
            self._note_refusal(thread, kind)
        if not args[4] or kind not in _OWNED:
            return CONTINUE
        data, owner = _without_owner(state.memory.read_string(thread, args[4]))
        if not any(owner.values()):
            return CONTINUE
        source = state.memory.read_string(thread, args[0]) if args[0] else None
        place = self._place(thread, args[1])
        state.listener.confirm()
        refusal = _mount_for(thread, place, (source, kind, flags, data))
        if refusal:
            return -refusal
        if _OWNED[kind] and not flags & MS_REMOUNT:
            # The place is the directory below the mount.
            status = state.files.status(self._place(thread, args[1]))
            record = state.records.make(status)
            record.uid, record.gid = owner[b"uid"], owner[b"gid"]
            state.records.keep(status, record)
        return 0

    def fsopen(self, thread: int, args: Arguments) -> Answer:
        """int fsopen(const char *type, unsigned flags)."""
        kind = self._state.memory.read_string(thread, args[0])
        if is_served(kind):
            self._state.served.begin(thread)
        if self._state.tags.credentials(thread).can(CAP_SYS_ADMIN):
            self._note_refusal(thread, kind)
        return CONTINUE

    def _note_refusal(self, thread: int, kind: bytes) -> None:
        """Note that the kernel lets ``thread`` mount no file system ``kind`` (mount_capable)."""
        namespace = _SHOWING.get(kind)
        if kind.partition(b".")[0] in _MOUNTABLE or (
            namespace and owns_namespace(thread, namespace)
        ):
            return
        name = kind[:_SHOWN_SIZE].decode("utf-8", "backslashreplace")
        self._state.refusals.note(thread, f"mount(2) of {name}")

    def fsconfig(self, thread: int, args: Arguments) -> Answer:
        """int fsconfig(int fd, FSCONFIG_SET_STRING, const char *key, const char *value, 0).

        A file system of FUSE needs such calls.
        """
        self._state.listener.before_mount()
        memory = self._state.memory
        if not args[2] or not args[3] or memory.read_string(thread, args[2]) not in _OWNER_OPTIONS:
            return CONTINUE
        value = memory.read_string(thread, args[3])
        if not value.isdigit() or int(value) == 0:
            return CONTINUE
        key = memory.read_string(thread, args[2])
        with Closing(take_descriptor(self._state.abi, thread, args[0])) as context:
            try:
                fsconfig(context, FSCONFIG_SET_STRING, key, b"0")
            except KernelError as error:
                return -error.errno
        return 0

    def _place(self, thread: int, address: int) -> bytes:
        """Return the place of the directory whose path is at ``address``."""
        location = self._state.paths.named(thread, CWD, address)
        self._state.served.check_location(thread, location)
        return self._state.lookup.file(thread, location)


def _without_owner(data: bytes) -> tuple[bytes, dict[bytes, int]]:
    """Return the options ``data`` without those that name an owner, and the owner."""
    owner = dict.fromkeys(_OWNER_OPTIONS, 0)
    kept = []
    for option in data.split(b","):
        name, _, value = option.partition(b"=")
        if name in _OWNER_OPTIONS and value.isdigit() and int(value) <= U32:
            owner[name] = int(value)
        else:
            kept.append(option)
    return b",".join(kept), owner


def _mount_for(thread: int, place: bytes, arguments: tuple[bytes | None, bytes, int, bytes]) -> int:
    """Mount on the directory at ``place``, where ``thread`` sees it; return 0 or an errno.

    ``arguments`` are source, type, flags and options.  A child does it, because it has to join the
    mount namespace of ``thread``, from which the supervisor would not find back.
    """
    child = fork_below()
    if child == 0:
        refusal = errno.EINVAL
        try:
            source, kind, flags, data = arguments
            directory = os.open(place, os.O_PATH | os.O_DIRECTORY)
            root = os.open(b"%d/root" % thread, os.O_PATH)
            namespace = os.open(b"%d/ns/mnt" % thread, os.O_RDONLY)
            setns(namespace, CLONE_NEWNS)
            os.fchdir(root)
            os.chroot(b".")
            os.fchdir(directory)
            mount(source, b".", kind, flags, data)
            refusal = 0
        except (OSError, KernelError) as error:
            refusal = error.errno or errno.EINVAL
        finally:
            os._exit(refusal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
