"""Contents of the files of /proc that show owners or identities, for a program that opens them.

/proc/PID/status shows the emulated identity of the process, /proc/PID/limits the limit in place of
the tag, and /proc/sysvipc/* the emulated owners of System V objects.  The supervisor reads the
file, changes the text, and keeps it in a file that has no name (memfd_create(2)).  The caller gets
a descriptor of that file.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.runtime.emulation.notify.identity.credentials import RLIM64_INFINITY
from sundog.runtime.emulation.notify.state.files import file_system_type
from sundog.runtime.emulation.notify.state.sysv import SYSV_KINDS, SysvKind, shown_list
from sundog.runtime.emulation.notify.state.walk import PROC_SUPER_MAGIC
from sundog.runtime.emulation.notify.tracee.descriptors import (
    ids_seen_by,
    status_text,
    whole_text,
)
from sundog.runtime.emulation.notify.tracee.tag import FILE_LOCKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.identity.credentials import Credentials
    from sundog.runtime.emulation.notify.state.state import State

_SYSV_LIST_LIMIT = 16 << 20  # 32000 objects take 5 MB
_SYSV_LISTS = {name.encode(): kind for name, kind in SYSV_KINDS.items()}


def open_shown(state: State, thread: int, location: bytes, flags: int) -> int:
    """Return a descriptor of what the file ``location`` shows, or -1 if the file itself shows it.

    ``thread`` opens it with ``flags``, which are those of open(2).  Raises OSError.
    """
    name = location.rpartition(b"/")[2]
    if name not in _OF_PROCESSES and name not in _SYSV_LISTS:
        return -1
    place = state.lookup.file(thread, location, follow=not flags & os.O_NOFOLLOW)
    # One descriptor, so that the file that is read is the one whose identity was found.
    with Closing(os.open(place, os.O_PATH | os.O_CLOEXEC | flags & os.O_DIRECTORY)) as found:
        if name in _SYSV_LISTS:
            return _open_list(state, thread, found, _SYSV_LISTS[name])
        who = state.processes.identity(state.files.descriptor_status(found))
        if who is None or state.user_namespaces.has(thread):
            return -1
        with Closing(os.open(b"self/fd/%d" % found, os.O_RDONLY | os.O_CLOEXEC)) as fd:
            if os.readlink(b"self/fd/%d" % fd).rpartition(b"/")[2] != name:
                return -1  # a symbolic link of this name leads to another file
            text = status_text(fd)
    return _in_memory(name.decode(), _OF_PROCESSES[name](text, who))


def _open_list(state: State, thread: int, found: int, kind: SysvKind) -> int:
    """Return a descriptor of what the file ``found`` shows, if it is that of /proc/sysvipc.

    ``found`` is open with O_PATH.  Returns -1 as ``open_shown`` does.  Raises OSError.
    """
    path = os.readlink(b"self/fd/%d" % found)
    is_list = path.endswith(b"/sysvipc/" + kind.name.encode())
    if not is_list or file_system_type(found) != PROC_SUPER_MAGIC:
        return -1
    if not state.sysv.is_here(thread):
        return -1
    with Closing(os.open(b"self/fd/%d" % found, os.O_RDONLY | os.O_CLOEXEC)) as fd:
        text = whole_text(fd, _SYSV_LIST_LIMIT)
    if shown_list(state.sysv, kind, text) == text:
        return -1
    pids = None if state.sysv.is_here(thread, b"pid") else ids_seen_by(thread)
    return _in_memory(kind.name, shown_list(state.sysv, kind, text, pids))


def _in_memory(name: str, text: bytes) -> int:
    """Return a descriptor for reading of a file without a name that holds ``text``."""
    with Closing(os.memfd_create(name, os.MFD_CLOEXEC)) as memory:
        with open(memory, "wb", closefd=False) as file:
            file.write(text)
        return os.open(b"self/fd/%d" % memory, os.O_RDONLY | os.O_CLOEXEC)


def _shown_status(text: bytes, who: Credentials) -> bytes:
    """Return the ``text`` of a /proc/PID/status as the kernel would write it for ``who``."""
    lines = {
        b"Uid": b"%d\t%d\t%d\t%d" % (who.ruid, who.euid, who.suid, who.fsuid),
        b"Gid": b"%d\t%d\t%d\t%d" % (who.rgid, who.egid, who.sgid, who.fsgid),
        b"Groups": b" ".join(b"%d" % group for group in who.groups) + b" ",
        b"CapInh": b"%016x" % who.inheritable,
        b"CapPrm": b"%016x" % who.permitted,
        b"CapEff": b"%016x" % who.effective,
        b"CapBnd": b"%016x" % who.bounding,
        b"CapAmb": b"%016x" % who.ambient,
        b"NoNewPrivs": b"%d" % who.no_new_privs,
    }
    shown = []
    for line in text.split(b"\n"):
        name, colon, _ = line.partition(b":")
        shown.append(b"%s:\t%s" % (name, lines[name]) if colon and name in lines else line)
    return b"\n".join(shown)


def _shown_limits(text: bytes, who: Credentials) -> bytes:
    """Return the ``text`` of a /proc/PID/limits as the kernel would write it for ``who``."""
    before, _, rest = text.partition(FILE_LOCKS)
    soft, hard = (
        b"unlimited" if limit == RLIM64_INFINITY else b"%d" % limit for limit in who.file_locks
    )
    line = b"%-27s%-21s%-21s%-10s" % (FILE_LOCKS, soft, hard, b"locks")
    return b"%s%s\n%s" % (before, line, rest.partition(b"\n")[2]) if rest else text


# By name of the file in /proc/PID.
_OF_PROCESSES = {b"status": _shown_status, b"limits": _shown_limits}
