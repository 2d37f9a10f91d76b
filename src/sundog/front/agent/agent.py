"""The agent: it waits for runtimes, and starts a supervisor for each container.

The agent itself answers no call.  A supervisor does not need it any more, except to hear of
processes that a runtime starts in a running container.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from selectors import EVENT_READ, DefaultSelector
from socket import AF_UNIX, SOCK_SEQPACKET, socketpair

from sundog.base.kernel.advice import explained
from sundog.base.kernel.descriptors import allow_descriptors, send_message
from sundog.base.kernel.living_process import has_ended
from sundog.base.kernel.process import fork
from sundog.base.kernel.unix_peer import UnixPeer
from sundog.base.wire.outcomes import where_from
from sundog.errors import EXIT_ERROR, SundogError
from sundog.front.agent.container_source import FURTHER
from sundog.front.agent.containers import ArrivedContainer, supervise
from sundog.front.agent.reception import Reception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket
    from typing import NoReturn, Protocol

    from sundog.front.agent.process_state import ProcessState

    class Messages(Protocol):
        """Prints lines for the user."""

        def info(self, text: str) -> None:
            """Print what happens."""

        def error(self, error: SundogError) -> None:
            """Print what went wrong."""


RECEPTIONS_LIMIT = 64


class Container:
    """A container with a supervisor.

    process     a pidfd of the container's first process
    supervisor  the process ID of its supervisor, and ``ended`` a pidfd of it
    further     the socket through which the supervisor gets further listeners
    """

    def __init__(self, state: ProcessState, process: int, supervisor: int, further: socket) -> None:
        self.state = state
        self.process = process
        self.supervisor = supervisor
        self.ended = os.pidfd_open(supervisor)
        self.further = further

    def is_of(self, state: ProcessState) -> bool:
        """Tell whether ``state`` is about this container."""
        return state.container == self.state.container and state.first in (0, self.state.first)

    def close(self) -> None:
        """Close all descriptors."""
        self.further.close()
        os.close(self.process)
        os.close(self.ended)


class Agent:
    """Takes messages at ``listening``, a socket, until it is interrupted.

    ``proc`` is a descriptor of /proc.
    """

    def __init__(self, listening: socket, proc: int, messages: Messages) -> None:
        allow_descriptors()  # three for each container
        self._listening = listening
        self._namespace = os.stat("/proc/self/ns/user")
        self._proc = proc
        self._messages = messages
        self._selector = DefaultSelector()
        self._receptions: set[Reception] = set()
        self._containers: list[Container] = []
        self._served = 0
        self._selector.register(listening, EVENT_READ, self._accept)

    def run(self, *, once: bool = False) -> None:
        """Serve runtimes; with ``once``, only until the first container has ended."""
        while not (once and self._served and not self._containers):
            now = time.monotonic()
            for late in [each for each in self._receptions if each.deadline <= now]:
                self._complain("a runtime did not finish its message in time")
                self._dismiss(late)
            ends = [each.deadline - now for each in self._receptions]
            for key, _ in self._selector.select(min(ends, default=None)):
                key.data()

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return  # the peer has gone
        stranger = self._stranger(connection)
        if stranger:
            self._complain(f"{stranger} wants to be served: refused")
            connection.close()
            return
        if len(self._receptions) >= RECEPTIONS_LIMIT:
            self._complain(f"{RECEPTIONS_LIMIT} runtimes have not finished their messages")
            connection.close()
            return
        reception = Reception(connection)
        self._receptions.add(reception)
        self._selector.register(connection, EVENT_READ, lambda: self._receive(reception))

    def _stranger(self, connection: socket) -> str:
        """Say who is at the other end of ``connection`` if it must not be served; else "".

        A program in a container has the user's ID, too.  A supervisor would write for it where the
        container shows nothing.  podman and its runtimes may be in a user namespace of their own,
        but their root directory is the host's, as the agent's is.
        """
        peer = UnixPeer(connection)
        try:
            if peer.uid != os.geteuid():
                return f"a process of user {peer.uid}"
            if peer.is_in(self._namespace) or peer.has_root(b"/"):
                return ""
            return f"a process in a container, or one that has ended ({peer.pid}),"
        finally:
            if peer.pidfd >= 0:
                os.close(peer.pidfd)

    def _receive(self, reception: Reception) -> None:
        try:
            if not reception.read():
                return
            result = reception.result()
        except (SundogError, OSError) as error:
            self._report("a runtime's message", error)
            result = None
        self._dismiss(reception)
        if result is not None:
            self._serve(*result)

    def _dismiss(self, reception: Reception) -> None:
        self._selector.unregister(reception.connection)
        self._receptions.discard(reception)
        reception.close()

    def _serve(self, state: ProcessState, listener: int) -> None:
        """Give the ``listener`` to a supervisor: that of its container, or a new one."""
        try:
            known = [container for container in self._containers if container.is_of(state)]
            if len(known) == 1:
                send_message(known[0].further, FURTHER, (listener,))
            elif state.first:
                self._start(state, listener)
            else:
                raise SundogError(f"{len(known)} containers that run have this ID")
        except (SundogError, OSError) as error:
            self._report(f"container {state.container}", error)
        finally:
            os.close(listener)

    def _start(self, state: ProcessState, listener: int) -> None:
        """Start a supervisor."""
        changes = state.metadata.changes
        predecessors = [
            each.ended
            for each in self._containers
            if changes and each.state.metadata.changes == changes and has_ended(each.process)
        ]
        with ExitStack() as opened:
            process = os.pidfd_open(state.first)
            opened.callback(os.close, process)
            ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
            opened.callback(ours.close)
            with theirs:
                supervised = ArrivedContainer(
                    state, listener, process, self._proc, theirs, predecessors
                )
                supervisor = fork()
                if supervisor == 0:
                    self._become_supervisor(supervised)
            container = Container(state, process, supervisor, ours)
            opened.pop_all()
        self._containers.append(container)
        self._served += 1
        self._selector.register(container.ended, EVENT_READ, lambda: self._bury(container))
        self._messages.info(f"container {state.container}: begins")

    def _become_supervisor(self, container: ArrivedContainer) -> NoReturn:
        """Be the child process that supervises ``container``."""
        status = EXIT_ERROR
        what = f"container {container.state.container}"
        try:
            supervise(container, lambda text: self._complain(f"{what}: {text}"))
            status = 0
        except (SundogError, OSError) as error:
            self._report(what, error)
        except Exception as error:
            lines = where_from(error)
            self._complain(f"please report this bug: {what}: {error!r} at {lines}")
        finally:
            os._exit(status)

    def _bury(self, container: Container) -> None:
        """Take note that a supervisor has ended."""
        self._selector.unregister(container.ended)
        self._containers.remove(container)
        _, status = os.waitpid(container.supervisor, 0)
        container.close()
        what = f"container {container.state.container}"
        if os.WIFSIGNALED(status):
            self._complain(f"{what}: its supervisor was killed by signal {os.WTERMSIG(status)}")
        elif status == 0:
            self._messages.info(f"{what}: has ended")

    def _report(self, what: str, error: SundogError | OSError) -> None:
        """Print ``error``, which is about ``what``."""
        shown = explained(error)
        self._messages.error(SundogError(f"{what}: {shown.message}", shown.hint))

    def _complain(self, text: str) -> None:
        self._messages.error(SundogError(text))
