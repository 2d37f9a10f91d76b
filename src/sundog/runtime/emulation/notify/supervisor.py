"""The supervisor: receive a call, have a handler answer it, reply; until no process is left.

Nothing that a tracee does can end the supervisor.  If a handler fails unexpectedly, the supervisor
leaves the call to the kernel.  It counts such incidents, and reports them at the end.
"""

from __future__ import annotations

import errno
import gc
import time
from fcntl import ioctl

from sundog.runtime.emulation.notify.handlers.access import AccessHandlers
from sundog.runtime.emulation.notify.handlers.chown import OwnerHandlers
from sundog.runtime.emulation.notify.handlers.create import CreateHandlers
from sundog.runtime.emulation.notify.handlers.exec import ExecuteHandlers
from sundog.runtime.emulation.notify.handlers.ids import IdentityHandlers
from sundog.runtime.emulation.notify.handlers.limits import LimitHandlers
from sundog.runtime.emulation.notify.handlers.links import LinkHandlers
from sundog.runtime.emulation.notify.handlers.misc import MiscellaneousHandlers
from sundog.runtime.emulation.notify.handlers.restart import RestartHandler
from sundog.runtime.emulation.notify.handlers.signals import SignalHandlers
from sundog.runtime.emulation.notify.handlers.stat import LISTING, StatHandlers
from sundog.runtime.emulation.notify.handlers.xattr import AttributeHandlers
from sundog.runtime.emulation.notify.seccomp.exchange import Exchange
from sundog.runtime.emulation.notify.seccomp.listener import (
    CONTINUE_WORD,
    EMPTY_NOTIFICATION,
    MACHINE,
    NOTIFICATION,
    NUMBER,
    RESULT_WORD,
    SECCOMP_IOCTL_NOTIF_RECV,
    SECCOMP_IOCTL_NOTIF_SEND,
    error_word,
)
from sundog.runtime.emulation.notify.seccomp.program import EMULATED
from sundog.runtime.emulation.notify.tracee.abi import YOUNG_CALLS
from sundog.runtime.emulation.notify.tracee.call import (
    ANSWERED,
    CONTINUE,
    Answer,
    KernelAnswers,
    Refused,
)
from sundog.runtime.emulation.notify.tracee.tag import wear_supervisor_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.abi import NotifyAbi
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

# The others are in ``handlers.rare``.
FAMILIES = (
    StatHandlers,
    IdentityHandlers,
    ExecuteHandlers,
    OwnerHandlers,
    CreateHandlers,
    LinkHandlers,
    AccessHandlers,
    SignalHandlers,
    AttributeHandlers,
    MiscellaneousHandlers,
    LimitHandlers,
)

# The handlers refuse these calls, or leave them to the kernel; beside that they follow the names of
# hard links in lower layers.
_NAMING = EMULATED["a name that goes"]

# Their handlers may make records, or change what a page tells of them.
_MAKING = (
    *(OwnerHandlers, CreateHandlers, LinkHandlers, AttributeHandlers),
    *(ExecuteHandlers, MiscellaneousHandlers),
)

# Errors that a handler may well get, because the caller made up its arguments, or has just died.
_EXPECTED_ERRORS = frozenset(
    (
        *(errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG),
        *(errno.EBADF, errno.ESRCH, errno.EFAULT, errno.EINVAL, errno.EROFS, errno.ENXIO),
        *(errno.EOVERFLOW, errno.EISDIR, errno.EXDEV, errno.EOPNOTSUPP, errno.ENODEV, errno.ESTALE),
    )
)

_GIVING_AWAY = ("chown", "lchown", "fchown", "fchownat")

_REPORTED_LIMIT = 20

COMPANION = 1 << 10  # no number of a call has this bit


class _Statistics:
    """Counts of the supervisor's work.

    calls       number of notifications by name of call
    incidents   number of unexpected failures of handlers
    cpu, wall   seconds of CPU that the supervisor used, and seconds that passed
    """

    def __init__(self, calls: dict[str, int], incidents: int, cpu: float, wall: float) -> None:
        self.calls = calls
        self.incidents = incidents
        self.cpu = cpu
        self.wall = wall

    def lines(self) -> list[str]:
        """Return a report for people."""
        total = sum(self.calls.values())
        share = 100 * self.cpu / self.wall if self.wall else 0.0
        often = sorted(self.calls.items(), key=lambda call: (-call[1], call[0]))
        lines = [
            f"notify: {total} notifications, {self.cpu:.2f} s ({share:.0f} %) in the supervisor",
            "notify: " + " ".join(f"{name}={count}" for name, count in often),
        ]
        if self.incidents:
            lines.append(f"notify: the supervisor could not answer {self.incidents} calls")
        return lines


class Supervisor:
    """Answers the calls of one container's processes.

    Its process is in the container's user and mount namespaces, and has the container's root.  Its
    working directory is the /proc of its own PID namespace.  ``report`` gets a line for each of the
    first unexpected failures of handlers.
    """

    def __init__(self, state: State, report: Callable[[str], None]) -> None:
        self._state = state
        self._report = report
        # By number; calls of the companion ABI have COMPANION in theirs.
        self._handlers: dict[int, Handler] = {}
        self._names: dict[int, str] = {}
        self._calls: dict[int, str] = {}  # as the handlers know them
        # By number, too.
        self._rootless: set[int] = set()  # calls that name no path
        self._mapped: set[int] = set()  # calls that show or take IDs of the caller's user namespace
        self._listing: set[int] = set()  # calls that show nothing but what records say of files
        self._starting: set[int] = set()  # calls after which root stays root without records
        self._refusing: set[int] = set()  # calls that the supervisor only refuses
        self._making: set[int] = set()  # calls whose handlers may make records
        self._incidents = 0
        self._counts: dict[int, int] = {}
        self._machine = state.abi.arch & 0xFF
        families = {family: family(state).calls() for family in FAMILIES}
        self._common = {
            name: handler for calls in families.values() for name, handler in calls.items()
        }
        # By the names of the calls, what the sets of numbers are by number.
        self._rootless_calls = {"fstat", "rt_sigaction", *families[IdentityHandlers]}
        self._mapped_calls = {*families[IdentityHandlers], *_GIVING_AWAY} - {"getgroups"}
        self._making_calls = {name for family in _MAKING for name in families[family]}
        self._starting_calls = {*families[ExecuteHandlers]}
        self._refusing_calls = {*_NAMING, *families[AccessHandlers], *families[SignalHandlers]}
        abi = state.abi
        handlers = {
            name: self._common[abi.call(name)]
            for name in abi.numbers.keys() - {*YOUNG_CALLS}
            if abi.call(name) in self._common
        }
        handlers["rt_sigaction"] = RestartHandler(abi, state).rt_sigaction
        self._enter(abi, handlers)
        self._has_rare = False

    def _enter(self, abi: NotifyAbi, handlers: dict[str, Handler]) -> None:
        """Take the handlers of the calls of an ABI, by its names of the calls."""
        prefix, mark = ("", 0) if abi is self._state.abi else (f"{abi.name}:", COMPANION)
        for name, handler in handlers.items():
            number, call = abi.numbers[name] | mark, abi.call(name)
            self._handlers[number] = handler
            self._names[number] = prefix + name
            self._calls[number] = call
            self._counts.setdefault(number, 0)
            for numbers, calls in (
                (self._rootless, self._rootless_calls),
                (self._listing, LISTING),
                (self._mapped, self._mapped_calls),
                (self._starting, self._starting_calls),
                (self._refusing, self._refusing_calls),
                (self._making, self._making_calls),
            ):
                if call in calls:
                    numbers.add(number)

    def _enter_rare(self) -> None:
        """Take the handlers that most containers do not need, and those of the other ABI."""
        from sundog.runtime.emulation.notify.handlers.rare import RareHandlers  # noqa: PLC0415

        self._has_rare = True
        rare = RareHandlers(self._state)
        self._rootless_calls |= rare.rootless
        self._making_calls |= rare.making
        for abi in self._state.abi.supervised():
            self._enter(abi, rare.of(abi, self._common))

    def serve(self) -> _Statistics:
        """Answer until no process is left."""
        # The records are many, live long, and have no cycles.  A collection would look at every
        # page that this process shares with its parent, and find too little garbage.
        gc.freeze()
        wear_supervisor_mark()
        self._state.records.limit_growth()
        gc.disable()
        cpu, wall = time.process_time(), time.monotonic()
        self._loop()
        self._state.secure_starts.wait()
        return _Statistics(
            {self._names[number]: count for number, count in self._counts.items() if count},
            self._incidents,
            time.process_time() - cpu,
            time.monotonic() - wall,
        )

    def _loop(self) -> None:  # noqa: PLR0915 - each call of a function costs every system call
        """Do the work.  The supervisor spends its time here, so the loop calls few functions."""
        listener, paths = self._state.listener, self._state.paths
        must_poll = listener.must_poll
        machine = self._machine
        handlers, counts = self._handlers, self._counts
        records, credentials = self._state.records, self._state.tags.table
        by_inode, linked, held = records.by_inode, records.linked, records.nursery.held
        unpack, lose = NOTIFICATION.unpack_from, self._state.unanswered.lose
        places, release = self._state.lookup.held, self._state.lookup.release
        exchange = Exchange()
        buffer, notification = exchange.buffer, exchange.notification
        numbers, words = exchange.numbers, exchange.words
        nothing: set[int] = set()
        strict = self._state.strict
        # Then names that change, and owners that only the host knows, matter.
        follows_names = records.follows_removals or records.has_listed
        is_curious = follows_names or self._state.unrecorded_owners is not None
        listing, refusing = self._listing, self._refusing
        listing_or_refusing = listing | refusing
        all_but_changes = listing_or_refusing | self._starting
        # Calls to which the kernel's own answer is right.  That depends on what only handlers
        # change, so the loop finds it out after each handler.
        passed_on = nothing
        page, making, others = self._state.page, self._making, self._state.processes.others
        if page is not None:
            page.publish(records.signs(), others, has_users=len(credentials) > 1)
        while not must_poll or listener.wait():
            if must_poll and listener.has_new:
                listener.has_new, passed_on = False, nothing
                if page is not None:
                    page.publish(records.signs(), others, has_users=len(credentials) > 1)
            fd = listener.fd
            notification[:] = EMPTY_NOTIFICATION
            try:
                ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, buffer)
            except OSError as error:
                if listener.is_over(error):
                    return
                continue
            number = numbers[NUMBER]
            if buffer[MACHINE] != machine:
                number |= COMPANION
            try:
                counts[number] += 1
            except KeyError:
                self._meet(number)
                listing_or_refusing = listing | refusing
                all_but_changes = listing_or_refusing | self._starting
            if number in passed_on:
                answer = CONTINUE
            else:
                fields = unpack(notification)
                if page is not None and number in making:
                    page.begin()
                listener.cookie, thread = fields[:2]
                args = fields[2:]
                try:
                    if paths.elsewhere:
                        answer = self._answer_elsewhere(number, thread, args)
                    else:
                        answer = handlers[number](thread, args)
                except KernelAnswers:
                    answer = CONTINUE
                except Refused as refusal:
                    answer = refusal.answer
                except OSError as error:
                    if error.errno not in _EXPECTED_ERRORS:
                        self._note_incident(number, error)
                    answer = CONTINUE
                except Exception as error:
                    self._note_incident(number, error)
                    answer = CONTINUE
                if places:
                    release()
                if page is not None:
                    page.publish(records.signs(), others, has_users=len(credentials) > 1)
                if len(credentials) > 1:
                    passed_on = nothing if by_inode or linked or strict else listing
                elif linked or is_curious:
                    passed_on = nothing
                elif by_inode:
                    passed_on = refusing
                else:
                    passed_on = listing_or_refusing if held else all_but_changes
            if answer is CONTINUE:
                words[1], words[2] = 0, CONTINUE_WORD
            elif answer >= 0:
                words[1], words[2] = answer, RESULT_WORD
            elif answer == ANSWERED:
                continue
            else:
                words[1], words[2] = 0, error_word(answer)
            while True:
                try:
                    ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, buffer)
                except InterruptedError:
                    continue  # the kernel sent nothing; Python 3.14 tries again by itself
                except FileNotFoundError:
                    lose(words[0])  # the caller has died, or a signal has interrupted the call
                break

    def _meet(self, number: int) -> None:
        """Count the first call of a ``number``, and get its handler.

        The kernel answers a call that only a filter which is not ours notifies.
        """
        if not self._has_rare:
            self._enter_rare()
        if number not in self._handlers:
            self._names[number] = self._calls[number] = f"call-{number:#x}"
            self._handlers[number] = lambda _thread, _args: CONTINUE
        self._counts[number] = 1

    def _answer_elsewhere(self, number: int, thread: int, args: Arguments) -> Answer:
        """Answer a call of a process that may have another root, or that serves files to others.

        The supervisor has the caller's root meanwhile.
        """
        handler, paths = self._handlers[number], self._state.paths
        served = self._state.served if self._state.served.has_begun else None
        if served is not None:
            served.prepare(thread)
        if number in self._mapped and self._state.user_namespaces.has(thread):
            return CONTINUE  # the map of IDs is the kernel's
        if number in self._rootless:
            if served is not None:
                served.check(thread, self._calls[number], args)
            return handler(thread, args)
        if served is not None:
            served.check_root(thread)
        paths.enter_root(thread)
        try:
            if served is not None:
                served.check(thread, self._calls[number], args)
            return handler(thread, args)
        finally:
            paths.leave_root()

    def _note_incident(self, number: int, error: Exception) -> None:
        self._incidents += 1
        if self._incidents > _REPORTED_LIMIT:
            return
        trace, where = error.__traceback__, ""
        while trace is not None:
            where = f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
            trace = trace.tb_next
        self._report(f"notify: {self._names[number]}: {error!r} at {where}")
