"""The canaries: things outside a container under attack, which must not be harmed."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import secrets
import select
import socket
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sundog.base.kernel.libc import syscall
from tests.conftest import state_of

if TYPE_CHECKING:
    from collections.abc import Iterator

IPC_CREAT, IPC_EXCL, IPC_RMID = 0o1000, 0o2000, 0
KEYCTL_UNLINK = 9
USER_KEYRING = -4
# add_key(2), keyctl(2), and mq_open(2), mq_unlink(2): the numbers of the two tables.
NUMBERS = {
    "x86_64": {"add_key": 248, "keyctl": 250, "mq_open": 240, "mq_unlink": 241},
}.get(platform.machine(), {"add_key": 217, "keyctl": 219, "mq_open": 180, "mq_unlink": 181})


def tree_digest(top: Path) -> str:
    """Return a digest of all names, types, modes, attributes and contents below ``top``."""
    digest = hashlib.sha256()
    for place, directories, files in os.walk(top):
        directories.sort()
        for name in ["", *sorted(files)]:
            path = os.path.join(place, name)
            status = os.lstat(path)
            digest.update(f"{path} {status.st_mode:o} {status.st_nlink} {status.st_rdev}".encode())
            for attribute in sorted(os.listxattr(path, follow_symlinks=False)):
                digest.update(attribute.encode())
            if os.path.islink(path):
                digest.update(os.readlink(path).encode())
            elif os.path.isfile(path):
                digest.update(Path(path).read_bytes())
    return digest.hexdigest()


class Outside:
    """The canaries.  ``arguments`` names them for the attacker; ``check`` fails after harm."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.token = secrets.token_hex(8)
        self.home = directory / "home"
        self.home.mkdir()
        self.secret = self.home / "secret"
        self.secret.write_text(self.token)
        self.secret.chmod(0o600)
        self.watched = [self.home]
        self.master, self.slave = os.openpty()
        stack.callback(os.close, self.master)
        stack.callback(os.close, self.slave)
        self.pts = os.ttyname(self.slave)
        self.victim = subprocess.Popen(["sleep", "1000"])
        # Like a user's shell: the leader of the terminal's session.
        shell = subprocess.Popen(["setsid", "--ctty", "sleep", "1000"], stdin=self.slave)
        for process in (self.victim, shell):
            stack.callback(process.wait)
            stack.callback(process.kill)
        self._sockets(stack)
        self._ipc(stack)
        self.key = self._key(stack)
        self.digests = {top: tree_digest(top) for top in self.watched}

    def _sockets(self, stack: ExitStack) -> None:
        self.abstract = f"sundog-canary-{self.token}"
        self.listeners = []
        # The names of sockets must be short: sun_path in unix(7).
        place = stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp"))
        self.socket = Path(place, "socket")
        for kind, address in (
            (socket.SOCK_STREAM, f"\0{self.abstract}"),
            (socket.SOCK_DGRAM, f"\0{self.abstract}-datagram"),
            (socket.SOCK_STREAM, str(self.socket)),
        ):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
            listener.bind(address)
            self.listeners.append(listener)
            if kind == socket.SOCK_STREAM:
                listener.listen()
        self.port = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def _ipc(self, stack: ExitStack) -> None:
        self.ipc = int(self.token[:7], 16) | 1
        flags = IPC_CREAT | IPC_EXCL | 0o600
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        memory = libc.shmget(self.ipc, 4096, flags)
        semaphores = libc.semget(self.ipc, 1, flags)
        queue = libc.msgget(self.ipc, flags)
        assert min(memory, semaphores, queue) >= 0
        stack.callback(libc.shmctl, memory, IPC_RMID, None)
        stack.callback(libc.semctl, semaphores, 0, IPC_RMID, 0)
        stack.callback(libc.msgctl, queue, IPC_RMID, None)
        place = libc.shmat(memory, None, 0)
        ctypes.memmove(place, self.token.encode(), len(self.token))
        libc.shmdt(ctypes.c_void_p(place))
        message = ctypes.create_string_buffer(b"\1" + bytes(7) + self.token.encode())
        assert libc.msgsnd(queue, message, len(self.token), 0) == 0
        self.mq = f"sundog-canary-{self.token}"
        fd = syscall(NUMBERS["mq_open"], self.mq.encode(), os.O_CREAT | os.O_RDWR, 0o600, None)
        assert fd >= 0
        os.close(fd)
        stack.callback(syscall, NUMBERS["mq_unlink"], self.mq.encode())
        self.shm = Path("/dev/shm", self.mq)
        self.shm.write_text(self.token)
        stack.callback(self.shm.unlink)

    def _key(self, stack: ExitStack) -> int:
        """Put a key on the user's keyring; return its serial number, -1 if there are no keys."""
        payload = self.token.encode()
        serial = syscall(
            NUMBERS["add_key"], b"user", self.mq.encode(), payload, len(payload), USER_KEYRING
        )
        if serial > 0:
            stack.callback(syscall, NUMBERS["keyctl"], KEYCTL_UNLINK, serial, USER_KEYRING)
        return serial

    def watch(self, *tops: Path) -> None:
        """Make everything below ``tops`` a canary as well, in its present state."""
        for top in tops:
            self.watched.append(top)
            self.digests[top] = tree_digest(top)

    def arguments(self, *, kill_ours: bool = True) -> list[str]:
        """Return the arguments of the attacker that name the canaries.

        With ``kill_ours``, the attacker shall kill the processes between itself and this one.
        """
        ours = [f"kill_ours={os.getpid()}"] if kill_ours else []
        return [
            *ours,
            f"canary={self.secret}",
            f"victim={self.victim.pid}",
            f"abstract={self.abstract}",
            f"abstract_datagram={self.abstract}-datagram",
            f"socket={self.socket}",
            f"port={self.port.getsockname()[1]}",
            f"ipc={self.ipc}",
            f"mq=/{self.mq}",
            f"shm={self.shm.name}",
            f"key={self.mq}",
            f"key_serial={self.key}",
            f"pts={self.pts}",
        ]

    def check(self, *, shares: bool = False) -> None:
        """Fail if the attacker reached a canary; ``shares`` excludes what ``ch-run`` shares."""
        assert {top: tree_digest(top) for top in self.watched} == self.digests
        typed, _, _ = select.select([self.master, self.slave], [], [], 0)
        assert typed == [], "something was typed into the user's terminal"
        assert self.shm.read_text() == self.token
        if not shares:
            assert self.victim.poll() is None, "a process outside died"
            assert state_of(self.victim.pid) == "S", "a process outside was stopped"
            connected, _, _ = select.select(self.listeners, [], [], 0)
            assert connected == [], "somebody connected to a socket"


@contextmanager
def canaries(directory: Path) -> Iterator[Outside]:
    """Put up the canaries, in ``directory`` and elsewhere; remove them at the end."""
    with ExitStack() as stack:
        yield Outside(directory, stack)


def verdicts(text: str) -> dict[str, tuple[str, str]]:
    """Return the attacker's output: a word and a remark for each attack."""
    found = {}
    for line in text.splitlines():
        name, separator, rest = line.partition(": ")
        word, _, remark = rest.partition(" ")
        if separator and word in {"REACHED", "refused", "absent", "died", "hung"}:
            found[name] = (word, remark)
    return found


def named(text: str, word: str) -> dict[str, str]:
    """Return the attacks with that outcome, and their remarks."""
    return {name: remark for name, (found, remark) in verdicts(text).items() if found == word}
