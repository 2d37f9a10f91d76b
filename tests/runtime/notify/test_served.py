"""File systems that a program of the container serves: their daemon waits for the supervisor."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from sundog.runtime.emulation.notify.handlers.access import AccessHandlers
from sundog.runtime.emulation.notify.handlers.bind import BindHandlers
from sundog.runtime.emulation.notify.handlers.chown import OwnerHandlers
from sundog.runtime.emulation.notify.handlers.create import CreateHandlers
from sundog.runtime.emulation.notify.handlers.exec import ExecuteHandlers
from sundog.runtime.emulation.notify.handlers.links import LinkHandlers
from sundog.runtime.emulation.notify.handlers.stat import StatHandlers
from sundog.runtime.emulation.notify.handlers.xattr import AttributeHandlers
from sundog.runtime.emulation.notify.identity.credentials import superuser
from sundog.runtime.emulation.notify.identity.tags import Tags
from sundog.runtime.emulation.notify.seccomp.listener import NotificationSource
from sundog.runtime.emulation.notify.state.state import State
from sundog.runtime.emulation.notify.tracee.abi import NOTIFY_X86_64
from sundog.runtime.emulation.notify.tracee.call import KernelAnswers
from sundog.runtime.emulation.notify.tracee.named_files import named_files

if TYPE_CHECKING:
    from tests.runtime.notify.conftest import Container

pytestmark = pytest.mark.usefixtures("fuse")

NAMING_FILES = (
    *(AccessHandlers, AttributeHandlers, BindHandlers, CreateHandlers),
    *(ExecuteHandlers, LinkHandlers, OwnerHandlers, StatHandlers),
)


def test_each_call_that_names_a_file_is_checked() -> None:
    source = NotificationSource(-1, must_poll=False)
    state = State(NOTIFY_X86_64, source, Tags(superuser(1)))
    calls = {call for family in NAMING_FILES for call in family(state).calls()}
    assert len(calls) > 60
    assert {call for call in calls if not [*named_files(call, (1,) * 6)]} == set()


def test_sockets_and_pipes_are_served_by_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are on mounts of the kernel's own, which no list has, as are files in memory."""
    state = State(NOTIFY_X86_64, NotificationSource(-1, must_poll=False), Tags(superuser(1)))
    monkeypatch.chdir("/proc")
    served, thread = state.served, os.getpid()
    served.begin(thread)
    served.prepare(thread)
    one, other = socket.socketpair()
    ends = os.pipe()
    memory = os.memfd_create("x")
    with one, other:
        for fd in (one.fileno(), *ends):
            served.check_open(thread, fd)
        with pytest.raises(KernelAnswers):
            served.check_open(thread, memory)
    for fd in (*ends, memory):
        os.close(fd)


# What each line of a script prints, in a working directory with the file system at `m`.
LOOKS = {
    # by path, from elsewhere and from there
    "stat -c '%u:%g %a %n' m m/busybox": "0:0 755 m\n0:0 755 m/busybox\n",
    "stat m/none 2>/dev/null || echo none": "none\n",
    "ls m; ls -ln m | wc -l": "busybox\n2\n",
    "(cd m; stat -c %n . busybox ../w/f; ls)": ".\nbusybox\n../w/f\nbusybox\n",
    "cd m/..; stat -c %u:%g w/f": "5:6\n",
    # by links
    "stat -c %F l; stat -Lc %F l": "symbolic link\nregular file\n",
    "stat -c %F /proc/self/cwd/m/busybox": "regular file\n",
    # by descriptors
    "stat -Lc %F /proc/self/fd/3 3<m/busybox; wc -c <m/busybox | grep -c .": "regular file\n1\n",
    # changes
    "chmod 700 m/busybox; touch m/busybox; echo $?": "0\n",
    "mkdir m/d 2>/dev/null || echo no; mv w m/w 2>/dev/null || echo no": "no\nno\n",
    "chown 0:0 m/busybox; echo $?": "0\n",
    "chown 7:8 m/busybox 2>/dev/null || echo no": "no\n",
    # programs from there, whose memory comes from the daemon, too
    "m/busybox stat -c %u:%g w/f": "5:6\n",
    "chroot m /busybox ls /": "busybox\n",
    "chroot m /busybox stat -c %n /busybox /none 2>/dev/null; echo $?": "/busybox\n1\n",
    "serve m/busybox": "1\n",
    # all else is as before
    "chown 9:10 w/f; stat -c %u:%g w/f; chown 5:6 w/f": "9:10\n",
    "su user -c 'id -u; : >w/g; stat -c %U w/g'": "104\nuser\n",
    "su user -c 'echo >>w/f' 2>/dev/null || echo no": "no\n",
    "mount -t tmpfs -o uid=3 t n; stat -c %u:%g n; : >n/f; chown 4 n/f; stat -c %u n/f": "3:0\n4\n",
    "unshare -m sh -c 'mount -t tmpfs t n; : >n/g; chown 4 n/g; stat -c %u n/g; ls m'": (
        "4\nbusybox\n"
    ),
}


def test_the_supervisor_looks_at_no_file_that_waits_for_it(busybox: Container) -> None:
    """Each look at such a file by the supervisor would last for ever."""
    prepare = "echo 'user:x:104:106::/tmp:/bin/sh' >>/etc/passwd; mkdir w m n; chmod 777 w"
    links = "echo x >w/f; chown 5:6 w/f; ln -s m/busybox l"
    script = f'{prepare}; {links}; exec serve m sh -c "$0"'
    done = busybox.run("sh", "-c", script, "\n".join(LOOKS), timeout=60)
    assert done.stdout == "".join(LOOKS.values())
    assert done.stderr == ""


def test_a_mount_that_appears_while_others_look_there(busybox: Container) -> None:
    look = "while [ ! -e end ]; do stat -c %n m/busybox; done 2>/dev/null"
    mount = "i=0; while [ $i -lt 20 ]; do serve m stat -c %F m/busybox; i=$((i + 1)); done"
    script = f"mkdir m; ({look}) >seen & {mount} | uniq -c; : >end; wait"
    done = busybox.run("sh", "-c", script, timeout=60)
    assert done.stdout.split() == ["20", "regular", "file"]


def test_a_mount_by_parts(busybox: Container) -> None:
    script = "mkdir m; exec serve -n m sh -c 'stat -c %F m/busybox; m/busybox ls m'"
    assert busybox.run("sh", "-c", script, timeout=60).stdout == "regular file\nbusybox\n"


def test_a_mount_in_another_mount_namespace(busybox: Container) -> None:
    script = "mkdir m; exec unshare -m serve m sh -c 'stat -c %F m/busybox; chroot m /busybox ls'"
    assert busybox.run("sh", "-c", script, timeout=60).stdout == "regular file\nbusybox\n"
