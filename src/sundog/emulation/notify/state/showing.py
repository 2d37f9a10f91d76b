"""What /proc/PID/status shows to a program that opens it: the emulated identity of the process.

The supervisor reads the file, changes the lines about the identity, and keeps the text in a file
without a name (memfd_create(2)).  The caller gets a descriptor of that file.
"""

import os

from sundog.emulation.notify.identity.credentials import Credentials
from sundog.emulation.notify.state.state import State
from sundog.emulation.notify.tracee.descriptors import status_text
from sundog.kernel.files import Closing

STATUS = b"status"
LOOKUP_FLAGS = os.O_NOFOLLOW | os.O_DIRECTORY


def open_shown(state: State, location: bytes, flags: int) -> int:
    """Return a descriptor of what the file ``location`` shows, or -1 if the file itself shows it.

    ``flags`` are the caller's for open(2).  Raises OSError.
    """
    if location.rpartition(b"/")[2] != STATUS:
        return -1
    # One descriptor, so that the file that is read is the one whose identity was found.
    with Closing(os.open(location, os.O_PATH | os.O_CLOEXEC | flags & LOOKUP_FLAGS)) as found:
        who = state.processes.identity(state.files.descriptor_status(found))
        if who is None:
            return -1
        with Closing(os.open(b"self/fd/%d" % found, os.O_RDONLY | os.O_CLOEXEC)) as fd:
            if os.readlink(b"self/fd/%d" % fd).rpartition(b"/")[2] != STATUS:
                return -1  # a symbolic link of this name leads to another file
            text = status_text(fd)
    with Closing(os.memfd_create("status", os.MFD_CLOEXEC)) as memory:
        with open(memory, "wb", closefd=False) as file:
            file.write(shown_status(text, who))
        return os.open(b"self/fd/%d" % memory, os.O_RDONLY | os.O_CLOEXEC)


def shown_status(text: bytes, who: Credentials) -> bytes:
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
