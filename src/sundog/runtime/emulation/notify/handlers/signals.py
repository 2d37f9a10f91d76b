"""kill(2) and its relatives: a process may signal only processes of its own user.

For the kernel all processes of the container belong to one user.  The supervisor refuses signals to
others' processes.  If a call goes to several processes, and the caller may signal only some of
them, then the supervisor sends the signals itself; that of kill(-1) always.
"""

from __future__ import annotations

import errno
import os

from sundog.base.cpython import SIGCONT, pidfd_send_signal
from sundog.base.kernel.files import Closing
from sundog.runtime.emulation.notify.identity.capabilities import CAP_KILL
from sundog.runtime.emulation.notify.identity.permissions import may_signal
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, U32, Answer, KernelAnswers, signed
from sundog.runtime.emulation.notify.tracee.processes import Process, Processes
from sundog.runtime.emulation.notify.tracee.tag import tag_index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.identity.credentials import Credentials
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

_LAST_SIGNAL = 64
_INT_MIN = -(1 << 31)


class SignalHandlers:
    """Refuse signals to processes of other users."""

    def __init__(self, state: State) -> None:
        self._tags = state.tags
        self._processes = Processes()

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {
            "kill": self.kill,
            "rt_sigqueueinfo": self.rt_sigqueueinfo,
            "pidfd_send_signal": self.pidfd_send_signal,
        }

    def kill(self, thread: int, args: Arguments) -> Answer:
        """int kill(pid_t pid, int sig)."""
        who = self._sender(thread)
        target, sig = signed(args[0]), args[1] & U32
        if who is None or sig > _LAST_SIGNAL or target == _INT_MIN:
            return CONTINUE
        if target > 0:
            return self._signal_one(thread, who, target, sig)
        return self._signal_several(thread, who, target, sig)

    def rt_sigqueueinfo(self, thread: int, args: Arguments) -> Answer:
        """int rt_sigqueueinfo(pid_t pid, int sig, siginfo_t *info), which knows no groups."""
        return self.kill(thread, args) if signed(args[0]) > 0 else CONTINUE

    def pidfd_send_signal(self, thread: int, args: Arguments) -> Answer:
        """int pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned flags)."""
        who = self._sender(thread)
        if who is None or args[1] & U32 > _LAST_SIGNAL:
            return CONTINUE
        target = self._processes.of_pidfd(thread, args[0] & U32)
        return self._refusal(thread, who, target, args[1] & U32) or CONTINUE

    def _sender(self, thread: int) -> Credentials | None:
        """Return the caller's credentials, None if it may signal every process."""
        index = self._tags.index(thread)
        if not index or self._tags.table[index].can(CAP_KILL):
            return None
        return self._tags.table[index]

    def _signal_one(self, thread: int, who: Credentials, target: int, sig: int) -> Answer:
        # A remembered number may be that of another process by now, and the kernel will find the
        # right one.  So a remembered process is only good for a quick yes.
        remembered = self._processes.remembered(thread, target)
        if remembered and self._may_signal(who, remembered):
            return CONTINUE
        outer = self._processes.find(thread, target)
        return self._refusal(thread, who, outer, sig) or CONTINUE

    def _refusal(self, thread: int, who: Credentials, target: int, sig: int) -> int:
        """Return -EPERM if ``who`` may not signal ``target``; 0 if it may, or there is none."""
        if not target or self._may_signal(who, target):
            return 0
        return 0 if self._is_allowed_to_all(thread, target, sig) else -errno.EPERM

    def _allows(self, thread: int, who: Credentials, target: int, sig: int) -> bool:
        """Tell whether ``who`` may signal ``target``, one of several; no if it has ended.

        The kernel must not answer here: it would signal all of them.
        """
        try:
            return not self._refusal(thread, who, target, sig)
        except KernelAnswers:
            return False

    def _is_allowed_to_all(self, thread: int, target: int, sig: int) -> bool:
        """Tell whether each user may send ``sig``: to itself, or SIGCONT to its own session."""
        own, other = Process(thread), Process(target)
        return own.group == other.group or (sig == SIGCONT and own.session == other.session)

    def _signal_several(self, thread: int, who: Credentials, target: int, sig: int) -> Answer:
        own = Process(thread)
        if target == -1:
            others = self._processes.visible_to(own)
            targets = [each for each in others if each.inner(own) > 1 and each.group != own.group]
        else:
            group = -target or own.process_group(own)
            others = self._processes.visible_to(own)
            targets = [each for each in others if each.process_group(own) == group]
        allowed = [each for each in targets if self._allows(thread, who, each.group, sig)]
        # By kill(-1), the kernel would reach the supervisor and all else that the host's user runs.
        if target != -1 and len(allowed) == len(targets):
            return CONTINUE
        if not targets:
            return -errno.ESRCH
        for each in allowed:
            try:
                with Closing(os.pidfd_open(each.group)) as process:
                    # Its number may be that of another process by now, but not any more.
                    if self._allows(thread, who, each.group, sig):
                        pidfd_send_signal(process, sig)
            except OSError:
                continue  # it has just ended
        return 0 if allowed or target == -1 else -errno.EPERM

    def _may_signal(self, who: Credentials, target: int) -> bool:
        """Tell whether ``who`` may signal the process ``target``; one without a tag is root's."""
        try:
            index = tag_index(target)
        except OSError:
            return False  # it belongs to another user of the host
        table = self._tags.table
        return may_signal(who, table[index if index < len(table) else 0])
