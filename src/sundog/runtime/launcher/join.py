"""``ch-run --join`` and ``--join-pid``: run the command in a container that exists.

Processes with the same name form a group.  The name is that of an abstract socket (unix(7)).  It
consists of the user, the user and PID namespace of the caller, and the tag.  The network namespace
belongs to it, too.  The process that binds the socket is the first one.  It makes the container as
without --join, and starts the keeper (``join_keeper``).  Every other process connects to it, gets
the container's namespaces, and enters them: setns(2).  It mounts nothing.

The compiled ``ch-run`` may have bound the socket already, and left it open.

Any program can take the name of a group, also one of an image.  A process that entered its
namespaces would be in its hands.  So each side believes only a process of its own user in its own
user namespace: programs of an image are in another one.  If a stranger has the name, or if nobody
answers there, the group meets at a place that no stranger can take (``join_place``).

A process that enters a container is not dumpable until it has become the command: programs there
can neither trace it nor open its files.

``main`` imports this module for --join.  In the wheel it is in a joined module of its own, which
the first one loads.
"""

from __future__ import annotations

import errno
import os
from time import sleep

from sundog.base.configuration.holding import read_configuration
from sundog.base.configuration.storage import configured_state, default_storage
from sundog.base.cpython import AF_UNIX, SO_ACCEPTCONN, SOCK_SEQPACKET, SOL_SOCKET, socket
from sundog.base.kernel.descriptors import receive_message, send_message
from sundog.base.kernel.libc import kernel_error, printable
from sundog.base.kernel.living_process import boot_id
from sundog.base.kernel.process import set_dumpable
from sundog.base.kernel.unix_peer import UnixPeer
from sundog.base.record.hashed import hashed
from sundog.base.record.location import JOIN, RUN_DIRECTORY, RUNTIME_NAME, RUNTIME_VARIABLE
from sundog.errors import SundogError
from sundog.runtime.container.local_ranks import group_names, size_names
from sundog.runtime.container.paths import OPEN_DIRECTORY, exists
from sundog.runtime.launcher.join_keeper import (
    IMAGE_LIMIT,
    PEER_ACCEPTED,
    PEER_SUPERVISED,
    start_keeper,
)
from sundog.runtime.launcher.joinable import Joinable
from sundog.runtime.launcher.option_numbers import parse_number
from sundog.runtime.supervision.membership import GroupChannel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.variables import Environment
    from sundog.runtime.launcher.join_place import JoinPlace
    from sundog.runtime.launcher.messages import Messages
    from sundog.runtime.launcher.option_values import GroupOptions
    from sundog.runtime.launcher.options import CommandLine

# ``sundog exec`` sets it: join a group that runs this image, and begin none.  The compiled program
# joins only such a group, and leaves the rest to this launcher.
JOIN_VARIABLE = b"SUNDOG_JOIN"
JOIN_RUNNING = b"running"

# ``sundog run -d`` sets it: the ID of the process that waits for this one.
_WAITER_VARIABLE = b"SUNDOG_WAITER"

NAME_PREFIX = "sundog-join"
NAME_LIMIT = 107  # bytes of an abstract name: unix(7)
_PAUSE = 0.001  # seconds until the next attempt, while the first process has not started its keeper
JOIN_ATTEMPTS = 10_000
SILENCES = 1_000  # attempts, until a socket on which nobody listens counts as a stranger's
_TAG_HINT = "choose another name for the group with --join-tag"


class _ContainerOf(Joinable):
    """The container of the process of --join-pid."""

    __slots__ = ()

    def __init__(self, pid: int) -> None:
        """Open the namespaces.  Raises SundogError."""
        super().__init__()
        name = f"/proc/{pid}/ns/user"
        own = os.stat(b"/proc/self/ns/user")
        try:
            process = os.open(b"/proc/%d" % pid, OPEN_DIRECTORY)
            for kind in (b"ns/user", b"ns/mnt"):
                fd = os.open(kind, os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
                self.namespaces.append(fd)
        except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
            raise SundogError(f"join: no PID {pid}: {name} not found") from None
        except OSError as error:
            raise SundogError(
                f"join: can't open {name}: {error.strerror}",
                "PID must be a process of yours, in a container that you started",
            ) from None
        os.close(process)
        if os.fstat(self.namespaces[0]).st_ino == own.st_ino:
            raise SundogError(
                f"join: process {pid} is in no container",
                "PID is a process that ch-run has started",
            )


class Group(Joinable):
    """The container of a group.  The first process of the group makes it."""

    __slots__ = (
        "_environment",
        "_image",
        "_is_attended",
        "_known_place",
        "_messages",
        "_name",
        "_proc",
        "_process",
        "_silences",
        "_tag",
    )

    def __init__(
        self,
        name: bytes,
        environment: Environment,
        tag: bytes,
        image: bytes,
        messages: Messages,
        *,
        is_attended: bool,
        may_begin: bool,
    ) -> None:
        """Join the group, or begin it if that is allowed; wait until one of the two is certain.

        Its socket has the abstract ``name``, or is where the ``environment`` says.  ``is_attended``
        tells whether a supervisor answers the calls of the group's commands.  Raises SundogError
        and OSError.
        """
        super().__init__(may_begin=may_begin)
        self._name = name
        self._environment = environment
        self._known_place: JoinPlace | None = None
        self._silences = 0  # how often nobody listened on the socket with the name
        self._tag = tag
        self._image = image
        self._messages = messages
        self._is_attended = is_attended
        self._process = os.open(b"/proc/self", OPEN_DIRECTORY)
        self._proc = os.open(b"/proc", OPEN_DIRECTORY) if is_attended else -1
        for _ in range(JOIN_ATTEMPTS):
            if self._begin() or self._join() or self._use_place():
                return
            sleep(_PAUSE)
        raise SundogError(
            f"join: nobody listens on the socket of the group {printable(tag)}",
            _TAG_HINT,
        )

    def entered(self) -> None:
        """Offer this process's namespaces to the later members of the group.

        Raises SundogError.
        """
        if self.keeper is None:
            return
        set_dumpable(False)  # the command of another process may start before that of this one
        flags = os.O_RDONLY | os.O_CLOEXEC
        own = [os.open(name, flags, dir_fd=self._process) for name in (b"ns/user", b"ns/mnt")]
        try:
            shared = [] if self.channel is None else [self.channel.channel.fileno()]
            send_message(self.keeper, b"+", own + shared)
        except OSError:
            raise SundogError("join: the keeper of the group died", "start again") from None
        for fd in (*own, self._process):
            os.close(fd)
        self._messages.verbose("join: done")

    def _begin(self) -> bool:
        """Try to become the first process of the group; return whether it is."""
        listener = _bound_socket(self._name)
        if listener is None:
            return False
        keeper = None
        if self.may_begin:
            keeper = start_keeper(listener, self._image, _open_waiter(self._environment))
        if _may_be_elsewhere(self._environment) and self._place().is_led():
            for end in (listener, keeper):
                if end is not None:
                    end.close()
            self._silences = SILENCES  # another process has met a stranger here
            return False
        self._lead(keeper)
        return True

    def _lead(self, keeper: socket | None) -> None:
        """Be the first process, whose ``keeper`` listens; None: this process may not be it."""
        if keeper is None:
            raise SundogError(f"join: the group {printable(self._tag)} is over")
        self._messages.verbose("join: I won")
        self.keeper = keeper
        if self._is_attended:
            self.channel = GroupChannel(self._proc)

    def _place(self) -> JoinPlace:
        """Return the place that no stranger can take.  Few processes load it."""
        if self._known_place is None:
            from sundog.runtime.launcher.join_place import JoinPlace

            self._known_place = JoinPlace(self._environment, self._name[1:])
        return self._known_place

    def _use_place(self) -> bool:
        """Try to begin or to join the group at the place that no stranger can take.

        Returns False if the group is, or may be, at the usual place.
        """
        if self._silences < SILENCES:
            return False
        if self._known_place is None:
            self._messages.verbose("join: a stranger has the usual socket of the group")
        try:
            lead = self._place().lead()
        except SundogError as error:
            raise SundogError(
                f"join: a stranger has the socket of the group {printable(self._tag)}, and there is"
                f" no other place: {error.message}",
                f"{error.hint}; or {_TAG_HINT}" if error.hint else _TAG_HINT,
            ) from None
        if lead is None:
            return self._join(self._place())
        connection = socket(AF_UNIX, SOCK_SEQPACKET)
        keeper = self._connected(connection, None)
        connection.close()
        if keeper is not None:
            os.close(keeper.pidfd)
            lead.end()
            self._silences = 0
            return False
        if not self.may_begin:
            self._lead(None)
        waiter = _open_waiter(self._environment)
        self._lead(start_keeper(lead.listener, self._image, waiter, lead))
        return True

    def _connected(self, connection: socket, place: JoinPlace | None) -> UnixPeer | None:
        """Connect to the keeper of the group; return it, or None if nobody of this user listens."""
        try:
            if place is not None:
                place.connect(connection)
            else:
                connection.connect(self._name)
        except OSError as error:
            if place is None and error.errno != errno.ECONNREFUSED:
                raise _socket_error("connect", self._name, error) from None
            self._silences += 1
            return None
        keeper = UnixPeer(connection)
        if keeper.uid != os.geteuid() or not keeper.is_in(os.stat(b"/proc/self/ns/user")):
            if keeper.pidfd >= 0:  # it lives
                os.close(keeper.pidfd)
                self._silences = SILENCES
            return None
        return keeper

    def _join(self, place: JoinPlace | None = None) -> bool:
        """Try to get the namespaces from the keeper; return whether it has sent them."""
        connection = socket(AF_UNIX, SOCK_SEQPACKET)
        keeper = self._connected(connection, place)
        if keeper is None:
            connection.close()
            return False
        try:
            message, self.namespaces = receive_message(connection, len(PEER_ACCEPTED) + IMAGE_LIMIT)
        except ConnectionResetError:
            return False
        finally:
            os.close(keeper.pidfd)
            connection.close()
        if not message:
            return False  # the group is over, or its first process has failed
        if not self.namespaces:
            raise SundogError(f"join: process {keeper.pid} does not let this process in", _TAG_HINT)
        if not self._may_enlist(message[:1] == PEER_SUPERVISED):
            self.namespaces = []
            return False  # the supervisor has just ended
        self._messages.verbose("join: I lost")
        self._messages.verbose(f"joining namespaces from the keeper, pid {keeper.pid}")
        if message[1:] != self._image[:IMAGE_LIMIT]:
            other = f"join: the group runs {printable(message[1:])}, not {printable(self._image)}"
            if not self.may_begin:
                raise SundogError(other)
            self._messages.warning(f"{other}; {_TAG_HINT}")
        return True

    def _may_enlist(self, is_supervised: bool) -> bool:
        """Become a member of the supervisor, if there is one; return False if it has ended.

        Raises SundogError if this process shall have a supervisor and the group has none, or the
        other way round.
        """
        if is_supervised != self._is_attended:
            has = "has" if is_supervised else "has no"
            raise SundogError(
                f"join: the group {printable(self._tag)} {has} supervisor of --notify",
                f"give --notify to all processes of a group, or to none; or {_TAG_HINT}",
            )
        if not is_supervised:
            return True
        channel = GroupChannel(self._proc, self.namespaces.pop())
        if not channel.enlist():
            for fd in self.namespaces:
                os.close(fd)
            return False
        self.channel = channel
        return True


def group_for(
    line: CommandLine,
    environment: Environment,
    messages: Messages,
    *,
    is_attended: bool,
) -> Joinable:
    """Return the group that ``line`` asks for.  Waits for its first process.

    ``is_attended`` is for ``Group``.  Raises SundogError and OSError.
    """
    if line.group.pid is not None:
        if line.emulation.notify:
            raise SundogError(
                "--join-pid incompatible with --notify",
                "use --seccomp; or start all processes with --join --notify",
            )
        messages.verbose(f"join: 0 0 (null) {line.group.pid}")
        return _ContainerOf(line.group.pid)
    size = _find_size(line.group, environment, messages)
    job, tag = _find_tag(line.group, environment, messages)
    messages.verbose(f"join: 1 {size} {printable(tag)} 0")
    name = _socket_name(job, tag)
    return Group(
        name,
        environment,
        tag,
        line.operands[0],
        messages,
        is_attended=is_attended,
        may_begin=environment.get(JOIN_VARIABLE) != JOIN_RUNNING,
    )


def _open_waiter(environment: Environment) -> int:
    """Return a pidfd of the process that waits for this one, -1 if none is named.

    Raises SundogError if it has ended.
    """
    value = environment.get(_WAITER_VARIABLE)
    if value is None:
        return -1
    process = os.pidfd_open(os.getppid())
    if value != b"%d" % os.getppid():
        os.close(process)
        raise SundogError("the process that waits for the container has ended", "start it again")
    return process


def _may_be_elsewhere(environment: Environment) -> bool:
    """Tell whether a group of this user may have met at the other place; few ever do."""
    runtime = environment.get(RUNTIME_VARIABLE) or b""
    if exists(runtime + b"/" + RUNTIME_NAME + b"/" + JOIN):
        return True
    try:
        holding = read_configuration(environment)
        boots = configured_state(environment, holding)
        boots = boots or default_storage(environment, holding) + b"/" + RUN_DIRECTORY
    except SundogError:
        return False
    return exists(boots) and exists(boots + b"/" + boot_id().encode() + b"/" + JOIN)


def _find_size(group: GroupOptions, environment: Environment, messages: Messages) -> int:
    """Return the size of the group, or 0 if nothing tells it.

    Sundog needs no size, because the keeper sees when members end.  Raises SundogError for a size
    that can't be.
    """
    source, size = "command line", group.size
    for name in size_names(environment.get):
        value = environment.get(name)
        if size is None and value is not None:
            source = name.decode()
            size = parse_number(value, source, more=True)
    if size is None:
        return 0
    messages.verbose(f"join: peer group size from {source}")
    if size <= 0:
        shown = "--join-ct" if group.size is not None else source
        raise SundogError("join: no valid peer group size found", f"{shown} is {size}")
    return size


def _find_tag(
    group: GroupOptions, environment: Environment, messages: Messages
) -> tuple[bytes, bytes]:
    """Return the hash of the job that the tag is of, b"" if of none, and the tag of the group.

    A job's name may be longer than an address.  Raises SundogError.
    """
    if group.tag is None:
        tag, job, source = group_names(environment.get)
    else:
        tag, job, source = group.tag, b"", "command line"
    if not tag:
        raise SundogError("join: peer group tag cannot be empty string")
    messages.verbose(f"join: peer group tag from {source}")
    return job and hashed(job), tag


def _socket_name(job: bytes, tag: bytes) -> bytes:
    """Return the address of the group's socket.  Raises SundogError if ``tag`` is too long."""
    users, processes = (os.stat(b"/proc/self/ns/" + kind).st_ino for kind in (b"user", b"pid"))
    place = f"\0{NAME_PREFIX}/{os.geteuid()}/{users}/{processes}/".encode()
    name = place + job + b"/" + tag
    if len(name) > NAME_LIMIT + 1 or b"\0" in name[1:]:
        raise SundogError(
            f"join: peer group tag is too long: {printable(tag)}",
            f"it may have {NAME_LIMIT - len(place) - len(job)} characters",
        )
    return name


def _bound_socket(name: bytes) -> socket | None:
    """Return a socket with the ``name``, for this process alone; None if another one has it.

    Raises KernelError.
    """
    listener = socket(AF_UNIX, SOCK_SEQPACKET)
    try:
        listener.bind(name)
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise _socket_error("bind", name, error) from None
        return inherited_socket(name)
    return listener


def inherited_socket(name: bytes) -> socket | None:
    """Return the socket with the ``name`` that the compiled ``ch-run`` has left open, or None."""
    for number in os.listdir(b"/proc/self/fd"):
        try:
            found = socket(AF_UNIX, SOCK_SEQPACKET, 0, int(number))
        except OSError:
            continue  # it is no socket, or the directory's own descriptor
        try:
            if found.getsockname() == name and not found.getsockopt(SOL_SOCKET, SO_ACCEPTCONN):
                os.set_inheritable(int(number), False)
                return found
        except OSError:
            pass  # it is a socket of another kind
        found.detach()
    return None


def _socket_error(call: str, name: bytes, error: OSError) -> SundogError:
    """Return the error of a ``call`` on the socket ``name`` of a group."""
    return kernel_error(call, name[1:], error.errno or 0, f"join: {call} {printable(name[1:])}")
