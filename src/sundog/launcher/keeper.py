"""The keeper of a group of ``ch-run --join``: it hands the container's namespaces to each peer.

    first ch-run ──── the keeper, from the fork on ──── the sockets of later ch-run

The first ``ch-run`` of a group forks the keeper before it enters its namespaces.  So the keeper is
in the user namespace of the caller, and programs in the container can neither trace it nor open its
files: they have no capabilities over that namespace (ptrace(2), "Ptrace access mode checking").
It stays dumpable, because its peers must see in which user namespace it is.

The keeper holds descriptors of the namespaces, the listening socket, and a pidfd of each member.
It ends with the last member.  If the first ``ch-run`` fails before its container is complete, the
keeper ends too; the peers that wait see the end of their connections, and begin a new group.

Floor 0.
"""

import os
from _signal import (  # type: ignore[import-not-found]
    SIG_DFL,
    SIG_IGN,
    SIG_SETMASK,
    SIGCHLD,
    SIGHUP,
    SIGINT,
    SIGQUIT,
    SIGTSTP,
    SIGTTIN,
    SIGTTOU,
    pthread_sigmask,
    signal,
)
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socket, socketpair

from sundog.kernel.descriptors import receive_message, send_message
from sundog.kernel.files import (
    STDERR_FILENO,
    STDIN_FILENO,
    STDOUT_FILENO,
    close_all_but,
)
from sundog.kernel.process import PR_SET_NAME, clear_command_line, prctl
from sundog.kernel.unix_peer import UnixPeer
from sundog.launcher.inherited import discard_child_signal

# Answers to a peer.  The image of the first ``ch-run`` follows PEER_ACCEPTED.
PEER_ACCEPTED = b"+"
PEER_REFUSED = b"-"
IMAGE_LIMIT = 4096  # bytes

POLLIN = 1  # poll(2)
BACKLOG = 4096  # the kernel may allow less: net.core.somaxconn
TERMINAL_SIGNALS = (SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU)
SPARE_DESCRIPTORS = 16  # those of the keeper itself


def start_keeper(listener: socket, image: bytes) -> socket:
    """Fork the keeper; return the connection by which it gets the namespaces.

    ``listener`` is bound, and this process has no use for it afterwards.  The keeper is no child of
    this process, because the command could wait for all its children.  Raises OSError.
    """
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    member = os.pidfd_open(os.getpid())
    child = os.fork()
    if child == 0:
        try:
            if os.fork() == 0:
                leave_caller((listener.fileno(), theirs.fileno(), member))
                Keeper(listener, image).keep(theirs, member)
        finally:
            os._exit(0)
    try:  # noqa: SIM105 - contextlib takes as long as the rest of the start
        os.waitpid(child, 0)
    except ChildProcessError:
        pass  # the caller ignores SIGCHLD
    discard_child_signal()
    for fd in (member, theirs.detach(), listener.detach()):
        os.close(fd)
    return ours


def leave_caller(kept: tuple[int, ...]) -> None:
    """Keep only the descriptors ``kept`` and nothing of the caller's terminal, pipes and signals.

    Whoever reads the other end of a pipe must see when the command has closed it.
    """
    os.setsid()
    os.chdir(b"/")
    for number in TERMINAL_SIGNALS:
        signal(number, SIG_IGN)
    signal(SIGCHLD, SIG_DFL)
    pthread_sigmask(SIG_SETMASK, ())
    null = os.open(b"/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for stream in (STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO):
        if stream not in kept:  # the number is in use if the caller had closed the stream
            os.dup2(null, stream)
    close_all_but((STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, *kept))
    prctl(PR_SET_NAME, b"PR_SET_NAME", b"ch-run-keeper")
    clear_command_line()


class Keeper:
    """The keeper of one group."""

    __slots__ = ("_answer", "_listener", "_members", "_namespace", "_namespaces", "_poll", "_room")

    def __init__(self, listener: socket, image: bytes) -> None:
        """Listen, so that peers can connect.  Raises OSError."""
        # Only this process needs these modules.
        from resource import RLIMIT_NOFILE, getrlimit, setrlimit  # noqa: PLC0415
        from select import poll  # noqa: PLC0415

        _, most = getrlimit(RLIMIT_NOFILE)
        setrlimit(RLIMIT_NOFILE, (most, most))
        self._answer = PEER_ACCEPTED + image[:IMAGE_LIMIT]
        self._listener = listener
        self._members: set[int] = set()
        self._namespace = os.stat(b"/proc/self/ns/user")
        self._namespaces: list[int] = []
        self._poll = poll()
        self._room = most - SPARE_DESCRIPTORS
        # From here on a peer can connect, and learns that it talks to this process: unix(7).
        listener.listen(BACKLOG)
        listener.setblocking(False)

    def keep(self, first: socket, member: int) -> None:
        """Wait until the container is complete; then answer peers until the last member ends.

        The namespaces come by the connection ``first``; ``member`` is a pidfd of the process at its
        other end.  Raises OSError.
        """
        _, self._namespaces = receive_message(first, 1)
        if not self._namespaces:
            return
        first.close()
        self._add(member)
        self._poll.register(self._listener.fileno(), POLLIN)
        while self._members:
            has_room = len(self._members) < self._room
            self._poll.modify(self._listener.fileno(), POLLIN if has_room else 0)
            for fd, _ in self._poll.poll():
                if fd in self._members:
                    self._remove(fd)
            # Also after the end of the last member: a peer that connected before joins.
            while len(self._members) < self._room and self._admit():
                pass

    def _add(self, member: int) -> None:
        self._members.add(member)
        self._poll.register(member, POLLIN)

    def _remove(self, member: int) -> None:
        self._poll.unregister(member)
        self._members.remove(member)
        os.close(member)

    def _admit(self) -> bool:
        """Answer the next peer; return False if there is none."""
        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return False
        except OSError:
            return True  # the peer has gone already
        connection = socket(AF_UNIX, SOCK_SEQPACKET, 0, fd)
        try:
            peer = UnixPeer(connection)
            if peer.uid == os.geteuid() and peer.is_in(self._namespace):
                self._add(peer.pidfd)
                send_message(connection, self._answer, self._namespaces)
            else:
                if peer.pidfd >= 0:
                    os.close(peer.pidfd)
                send_message(connection, PEER_REFUSED)
        except OSError:
            pass  # the peer has gone
        connection.close()
        return True
