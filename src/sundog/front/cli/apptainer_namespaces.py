"""The namespaces that a container of ``sundog apptainer`` has for itself: IPC, network, UTS, PID.

This process enters them, in a user namespace of its own, before it becomes ``ch-run``, which makes
another one below.  A new PID namespace is that of its children.  So it becomes three processes
there: this one, which waits outside; the init, PID 1; and the one that becomes ``ch-run``.
"""

from __future__ import annotations

import os
import signal

from sundog.base.kernel.files import close_all_but
from sundog.base.kernel.mounts import MS_NODEV, MS_NOEXEC, MS_NOSUID, mount
from sundog.base.kernel.namespaces import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWPID,
    CLONE_NEWUTS,
)
from sundog.base.kernel.network import bring_up_loopback
from sundog.base.kernel.process import fork, set_dumpable, set_pdeathsig
from sundog.errors import KernelError
from sundog.runtime.container.enter import enter_namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

_PID = "pid"
_FLAGS = {"ipc": CLONE_NEWIPC, "net": CLONE_NEWNET, "uts": CLONE_NEWUTS, _PID: CLONE_NEWPID}
# Signals of the terminal that stop and continue the whole process group.
JOB_CONTROL = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT}
_DIED = 128  # added to the number of the signal, as shells do


def enter(names: Sequence[str], hostname: str, *, has_init: bool) -> list[str]:
    """Enter new namespaces of these names; return lines that say what is not possible.

    The network has the interface ``lo``.  With "pid", it returns in a child, which is PID 1 itself
    unless the namespace ``has_init``.
    """
    own, refusals = enter_own(names, hostname)
    if _PID in own:
        _fork_inside(has_init=has_init)
    return refusals


def enter_own(names: Sequence[str], hostname: str) -> tuple[Sequence[str], list[str]]:
    """Enter new namespaces of these names; return those that are possible, and the refusals.

    With "pid", only children of this process are in the new PID namespace.
    """
    refusals = []
    if _PID in names and not _pids_are_possible():
        refusals.append("no PID namespace is possible here: the host's processes are visible")
        names = [name for name in names if name != _PID]
    try:
        if names:
            _enter(names, hostname)
    except (KernelError, OSError) as error:
        shown = ", ".join(names)
        text = f"no namespaces of the container's own are possible ({shown}): {error}"
        return [], [*refusals, text]
    return names, refusals


def _enter(names: Sequence[str], hostname: str) -> None:
    """Enter the namespaces.  Raises KernelError and OSError."""
    enter_namespaces(os.geteuid(), os.getegid(), sum(_FLAGS[name] for name in names))
    if "net" in names:
        bring_up_loopback()
    if hostname:
        from socket import sethostname

        sethostname(hostname)


def _pids_are_possible() -> bool:
    """Try in another process, because a PID namespace that has lost its init can't be left."""
    process = fork()
    if process == 0:
        status = 1
        try:
            enter_namespaces(os.geteuid(), os.getegid(), CLONE_NEWPID)
            inside = fork()
            if inside == 0:
                mount_proc()
                os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(inside, 0)[1])
        except (KernelError, OSError):
            pass
        finally:
            os._exit(1 if status else 0)
    return os.waitpid(process, 0)[1] == 0


def mount_proc() -> None:
    """Show the processes of this PID namespace at /proc.  Raises KernelError."""
    mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)


def _fork_inside(*, has_init: bool) -> None:
    """Go on in a child, inside of the PID namespace."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - JOB_CONTROL)
    ours, theirs = os.pipe()
    init = fork()
    if init:
        os.close(ours)
        wait_outside(init)
    os.close(theirs)
    set_pdeathsig(signal.SIGKILL)  # it ends the whole namespace
    os.set_blocking(ours, False)
    try:
        os.read(ours, 1)
    except BlockingIOError:  # the parent lives
        os.close(ours)
    else:
        os._exit(_DIED + signal.SIGKILL)
    mount_proc()
    if has_init:
        command = fork()
        if command:
            _be_init(command)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def wait_outside(init: int) -> NoReturn:
    """Pass signals on to the ``init``, and end with its status."""
    while True:
        received = signal.sigwaitinfo(signal.valid_signals() - JOB_CONTROL)
        if received.si_signo != signal.SIGCHLD:
            pass_on(received, init)
            continue
        process, status = os.waitpid(init, os.WNOHANG)
        if process:
            os._exit(shell_status(status))


def _be_init(command: int) -> NoReturn:
    """Be PID 1: pass signals on to the ``command``, reap all, and end with the command.

    The command is the same user.  So nothing of this process is open to it.
    """
    set_dumpable(False)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    close_all_but(range(3))
    while True:
        received = signal.sigwaitinfo(signal.valid_signals() - JOB_CONTROL)
        if received.si_signo != signal.SIGCHLD:
            pass_on(received, command)
            continue
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if process == 0:
                break
            if process == command:
                os._exit(shell_status(status))


def pass_on(received: signal.struct_siginfo, process: int) -> None:
    """Send a signal of another process on.  Those of the terminal reach the whole group."""
    if received.si_code <= 0:
        try:  # noqa: SIM105 - contextlib takes as long as a third of a start
            os.kill(process, received.si_signo)
        except ProcessLookupError:
            pass  # it has ended


def shell_status(status: int) -> int:
    """Return a wait status as shells show it."""
    return _DIED + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
