"""``ch-run --notify``: the command does not replace ``ch-run``, but has it and a supervisor beside.

    caller ── ch-run, which stands in for the command ─┬─ the supervisor
                                                       └─ the command

All three are in the container's namespaces and have its root; the command alone, and what it
starts, is under the filter.  The other two cannot be traced or looked into by it, and keep of the
caller's descriptors standard error alone.  If the supervisor or ``ch-run`` dies, the other one ends
the container: nothing goes on half-emulated.  What the command leaves running ends with it, too, so
that all is recorded when ``ch-run`` returns.

Floor 0.  ``main`` imports it for --notify, before the change of root: in the wheel, as the joined
module that is added to the first.
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

from sundog.emulation.notify.trial import obstacle
from sundog.errors import EXIT_RUN, SundogError
from sundog.kernel.files import close_all_but
from sundog.kernel.process import set_child_subreaper, set_dumpable, set_pdeathsig
from sundog.launcher.main import STDOUT_FILENO
from sundog.launcher.members import kill_members
from sundog.launcher.messages import STDERR_FILENO, Messages
from sundog.launcher.own_records import OwnRecords
from sundog.launcher.paths import exists
from sundog.launcher.recorded import Recorded
from sundog.launcher.root import DirectoryRoot
from sundog.launcher.stand_in import StandIn
from sundog.launcher.supervised import Emulation, Supervised
from sundog.record.identity import find_identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.launcher.image import Image
    from sundog.launcher.options import CommandLine
    from sundog.launcher.plan import Plan

STDIN_FILENO = 0


class Attendant:
    """What ``main.launch`` does otherwise for --notify, in the order of its calls."""

    def choose(self, line: "CommandLine", messages: Messages) -> None:
        """Choose between a supervisor and, where that is not possible, --seccomp.

        In either case the accounts are the image's, and the user is root by default.  Raises
        SundogError where there is no choice.
        """
        if line.seccomp:
            raise SundogError(
                "--seccomp incompatible with --notify",
                "leave out --seccomp; it stands in where --notify is not possible",
            )
        self._line = line
        self._messages = messages
        line.passwd = False
        reason = obstacle()
        if reason:
            fault = "--notify is not possible here"
            if not line.fallback:
                raise SundogError(f"{fault}: {reason}", "leave out --no-fallback; or use --seccomp")
            messages.warning(f"{fault}, using --seccomp: {reason}")
            line.notify, line.seccomp = False, True
        self._words = user_words(line)
        if line.notify:
            line.uid = line.gid = None  # emulated
        line.uid, line.gid = line.uid or 0, line.gid or 0

    def prepare(self, image: "Image", plan: "Plan") -> None:
        """Take hold of what is recorded about the ``image``, in the container's namespaces.

        It has been mounted by the ``plan``.
        """
        line = self._line
        self._records: OwnRecords | None = None
        self._words = self._words or image.user
        root = image.root
        if image.named or not isinstance(root, DirectoryRoot):
            layers = [Recorded(path + b"/tree", path + b"/owners") for path in image.layers]
            self._emulation = Emulation(layers, None, is_stable=True)
        else:
            path = root.path
            changes = None
            if line.write and line.overlay_size is None:
                changes = path
                self._records = OwnRecords(path)
            owners = path + b"/ch/owners"
            layers = [Recorded(path, owners)] if exists(owners) else []
            self._emulation = Emulation(layers, changes, is_stable=changes is None)
        if plan.overlay_size is not None:
            self._emulation.upper = os.open(b"upper", os.O_PATH | os.O_CLOEXEC, dir_fd=plan.scratch)
        self._emulation.prepare()
        self._emulation.merge()

    def identify(self) -> bytes:
        """Find out who the command is, in the container's root; return the home directory.

        b"": as for any root.
        """
        if not self._words:
            return b""
        who = find_identity(self._words, contents(b"/etc/passwd"), contents(b"/etc/group"))
        groups = " ".join(map(str, who.groups))
        self._messages.verbose(f"emulated user: uid {who.uid}, gid {who.gid}, groups {groups}")
        self._emulation.identity = who
        return who.home if who.uid else b""

    def attend(self, become: "Callable[[Callable[[], None]], int]") -> int:
        """Have the command run that ``become`` becomes; return the exit status, or die as it did.

        ``become`` is given the function that puts on the filter.  Returns also in the two children
        that this makes, with their exit statuses.
        """
        emulation = self._emulation
        parent = os.getpid()
        # The command gets all this back; signals for it are the stand-in's to pass on.
        chld = signal(SIGCHLD, SIG_DFL)
        mask = pthread_sigmask(SIG_BLOCK, valid_signals())
        set_child_subreaper()
        set_dumpable(False)
        supervisor = os.fork()
        if supervisor == 0:
            return self._supervise(parent)
        command = os.fork()
        if command == 0:
            set_pdeathsig(SIGKILL)
            if os.getppid() != parent:
                return EXIT_RUN
            signal(SIGCHLD, chld)
            pthread_sigmask(SIG_SETMASK, mask)
            return become(emulation.install)
        leave_descriptors((emulation.proc,))
        stand_in = StandIn(command, supervisor, emulation.proc)
        return stand_in.stand(self._messages)

    def _supervise(self, parent: int) -> int:
        """Be the supervisor; return its exit status, 0 if all is recorded that had to be."""

        def parent_died(*_: object) -> None:
            if os.getppid() != parent:
                kill_members(self._emulation.proc, {os.getpid()})
                os._exit(EXIT_RUN)

        signal(SIGTERM, parent_died)
        set_pdeathsig(SIGTERM)
        pthread_sigmask(SIG_UNBLOCK, {SIGTERM})
        parent_died()
        records = () if self._records is None else self._records.descriptors()
        leave_descriptors((*self._emulation.descriptors(), *records))
        supervised = self._emulation.supervise()
        if supervised is None:
            return 0  # the command has told why
        self._report(supervised)
        if self._records is not None:
            self._records.save(supervised.owners)
        return 0

    def _report(self, supervised: Supervised) -> None:
        """Tell what the supervisor did."""
        for text in (*supervised.statistics, *supervised.incidents):
            self._messages.verbose(text)
        count = supervised.failures
        if count:
            hint = "" if self._messages.verbosity >= 1 else ": see them with -v"
            self._messages.warning(f"root emulation failed to answer {count} calls{hint}")


def user_words(line: "CommandLine") -> bytes:
    """Return USER[:GROUP] of -u and -g, b"" if neither is there."""
    if line.uid is None and line.gid is None:
        return b""
    user = b"%d" % (line.uid or 0)
    return user if line.gid is None else b"%b:%d" % (user, line.gid)


def contents(path: bytes) -> bytes:
    """Return what is in a file, b"" if it can't be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def leave_descriptors(kept: "Sequence[int]") -> None:
    """Close all descriptors but standard error and those ``kept``.

    Whoever reads standard output or writes to standard input shall see when the command has closed
    it; and so with what else the caller left open for the command.
    """
    null = os.open(b"/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for stream in (STDIN_FILENO, STDOUT_FILENO):
        if stream not in kept:  # as it may be where the caller has closed it
            os.dup2(null, stream)
    close_all_but((STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, *kept))
