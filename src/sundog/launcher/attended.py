"""``ch-run --notify``: ``ch-run`` stays, and runs the command and a supervisor as its children.

    caller ── ch-run, the stand-in for the command ─┬─ the supervisor
                                                    └─ the command

All three are in the container's namespaces and have its root directory.  Only the command and its
descendants are under the filter.  The command can neither trace the other two processes nor read
their memory.  The other two keep only standard error of the caller's descriptors.  If the
supervisor or ``ch-run`` dies, the other one ends the container, so that no command runs without its
emulation.  When the command ends, ``ch-run`` kills the processes that the command left.  So all
changes are recorded when ``ch-run`` returns.

Floor 0.  ``main`` imports this module for --notify, before it changes the root.  In the wheel the
module is in the second joined module, which the first one loads.
"""

import os
from _signal import (  # type: ignore[import-not-found]
    SIG_BLOCK,
    SIG_DFL,
    SIG_SETMASK,
    SIG_UNBLOCK,
    SIGCHLD,
    SIGKILL,
    SIGTERM,
    pthread_sigmask,
    signal,
    valid_signals,
)

from sundog.container.members import kill_members
from sundog.container.paths import exists
from sundog.container.supervision import Emulation, Supervised, Supervision
from sundog.emulation.notify.seccomp.trial import obstacle
from sundog.errors import EXIT_RUN, SundogError
from sundog.kernel.files import STDERR_FILENO, leave_descriptors
from sundog.kernel.process import set_child_subreaper, set_dumpable, set_pdeathsig
from sundog.launcher.messages import Messages
from sundog.launcher.own_records import OwnRecords
from sundog.launcher.stand_in import StandIn
from sundog.record.identity import find_identity
from sundog.record.layer_path import LayerPath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.container.plan import Plan
    from sundog.launcher.image import Image
    from sundog.launcher.main import Become
    from sundog.launcher.options import CommandLine
    from sundog.record.identity import Identity


class Attendant:
    """A supervisor that will run beside the command.  See ``main.Companion``."""

    __slots__ = ("_messages", "_words", "_writes")

    def __init__(self, line: "CommandLine", messages: Messages) -> None:
        """Read from ``line`` the command's user, and whether the command writes to the image."""
        self._words = user_words(line)
        self._writes = line.write and line.overlay_size is None
        self._messages = messages

    def prepare(self, image: "Image", plan: "Plan") -> "PreparedAttendant":
        """Open the records of the ``image``; call it in the container's namespaces.

        ``plan`` has mounted the image.
        """
        root, records = image.root, None
        if image.named:
            layers = [LayerPath(path + b"/tree", path + b"/owners") for path in image.layers]
            emulation = Emulation(layers, None, is_stable=True)
        elif image.recorded is not None:
            emulation = Emulation([LayerPath(*image.recorded)], None, is_stable=True)
        else:
            path = root.directory
            changes = path if self._writes else None
            if self._writes:
                records = OwnRecords(path)
            owners = path + b"/ch/owners"
            layers = [LayerPath(path, owners)] if exists(owners) else []
            emulation = Emulation(layers, changes, is_stable=changes is None)
        upper = -1
        if plan.overlay_size is not None:
            upper = os.open(b"upper", os.O_PATH | os.O_CLOEXEC, dir_fd=plan.scratch)
        supervision = emulation.open().merge(upper)
        return PreparedAttendant(supervision, records, self._words or image.user, self._messages)


class PreparedAttendant:
    """A supervisor that has the records of the image.  See ``main.PreparedCompanion``."""

    __slots__ = ("_messages", "_records", "_supervision", "_words")

    def __init__(
        self,
        supervision: Supervision,
        records: OwnRecords | None,
        words: bytes,
        messages: Messages,
    ) -> None:
        self._supervision = supervision
        self._records = records
        self._words = words
        self._messages = messages

    def identify(self) -> "Identity | None":
        """Return the command's user, None for root; call it in the container's root directory."""
        if not self._words:
            return None
        who = find_identity(self._words, contents(b"/etc/passwd"), contents(b"/etc/group"))
        groups = " ".join(map(str, who.groups))
        self._messages.verbose(f"emulated user: uid {who.uid}, gid {who.gid}, groups {groups}")
        return who

    def attend(self, who: "Identity | None", become: "Become") -> int:
        """Run the command beside a supervisor; return its exit status, or die of its signal.

        The command's process calls ``become`` with the function that installs the filter.  The
        method forks twice, and returns in each child, too, with the child's exit status.
        """
        supervision = self._supervision
        parent = os.getpid()
        # The command's process undoes these changes.  The stand-in passes signals on to it.
        chld = signal(SIGCHLD, SIG_DFL)
        mask = pthread_sigmask(SIG_BLOCK, valid_signals())
        set_child_subreaper()
        set_dumpable(False)
        supervisor = os.fork()
        if supervisor == 0:
            return self._supervise(parent, who)
        command = os.fork()
        if command == 0:
            set_pdeathsig(SIGKILL)
            if os.getppid() != parent:
                return EXIT_RUN
            signal(SIGCHLD, chld)
            pthread_sigmask(SIG_SETMASK, mask)
            return become(lambda: supervision.install(who))
        leave_descriptors((STDERR_FILENO, supervision.proc))
        stand_in = StandIn(command, supervisor, supervision.proc)
        return stand_in.stand(self._messages)

    def _supervise(self, parent: int, who: "Identity | None") -> int:
        """Be the supervisor; return its exit status: 0 if it has written all records."""
        supervision = self._supervision

        def parent_died(*_: object) -> None:
            if os.getppid() != parent:
                kill_members(supervision.proc, {os.getpid()})
                os._exit(EXIT_RUN)

        signal(SIGTERM, parent_died)
        set_pdeathsig(SIGTERM)
        pthread_sigmask(SIG_UNBLOCK, {SIGTERM})
        parent_died()
        records = () if self._records is None else self._records.descriptors()
        leave_descriptors((STDERR_FILENO, *supervision.descriptors(), *records))
        supervised = supervision.supervise(who)
        if supervised is None:
            return 0  # the command has printed why
        self._report(supervised)
        if self._records is not None:
            self._records.save(supervised.owners)
        return 0

    def _report(self, supervised: Supervised) -> None:
        """Print what the supervisor did."""
        for text in (*supervised.statistics, *supervised.incidents):
            self._messages.verbose(text)
        count = supervised.failures
        if count:
            hint = "" if self._messages.verbosity >= 1 else ": see them with -v"
            self._messages.warning(f"root emulation failed to answer {count} calls{hint}")


def attendant_for(line: "CommandLine", messages: Messages) -> Attendant | None:
    """Return the supervisor that ``line`` asks for; None if --seccomp must take its place.

    Raises SundogError if ``line`` has --seccomp, or if it forbids --seccomp to take that place.
    """
    if line.seccomp:
        raise SundogError(
            "--seccomp incompatible with --notify",
            "leave out --seccomp; ch-run uses it if --notify is not possible",
        )
    reason = obstacle()
    if not reason:
        return Attendant(line, messages)
    fault = "--notify is not possible here"
    if not line.fallback:
        raise SundogError(f"{fault}: {reason}", "leave out --no-fallback; or use --seccomp")
    messages.warning(f"{fault}, using --seccomp: {reason}")
    return None


def user_words(line: "CommandLine") -> bytes:
    """Return -u and -g as USER[:GROUP], or b"" if ``line`` has neither."""
    if line.uid is None and line.gid is None:
        return b""
    user = b"%d" % (line.uid or 0)
    return user if line.gid is None else b"%b:%d" % (user, line.gid)


def contents(path: bytes) -> bytes:
    """Return the content of a file, or b"" if it can't be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
