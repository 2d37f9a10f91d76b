"""``ch-run --notify``: ``ch-run`` stays, and runs the command and a supervisor as its children.

    caller ── ch-run, the stand-in for the command ─┬─ the supervisor
                                                    └─ the command

All three are in the container's namespaces and have its root directory.  Only the command and its
descendants are under the filter.  The command can neither trace the other two processes nor read
their memory.  The other two keep only standard error of the caller's descriptors.  If the
supervisor or ``ch-run`` dies, the other one ends the container, so that no command runs without its
emulation.  If the supervisor may wait for a program, a process takes its place in that: ``ender``.
When the command ends, ``ch-run`` kills the processes that the command left.  So all changes are
recorded when ``ch-run`` returns.

``root_emulation`` imports this module for --notify, before ``main`` changes the root.  In the wheel
it is in a joined module of its own, which the first one loads.
"""

from __future__ import annotations

import os

from sundog.base.cpython import (
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
from sundog.base.kernel.advice import referring
from sundog.base.kernel.files import STDERR_FILENO, leave_descriptors, memory_file, open_regular
from sundog.base.kernel.mounts import AT_FDCWD
from sundog.base.kernel.process import (
    fork_below,
    set_child_subreaper,
    set_dumpable,
    set_pdeathsig,
)
from sundog.base.record.directory import OWN_RECORDS, RECORDS
from sundog.base.record.guesses import OWNERS_KNOWN, OWNERS_LOST, listed_guesses
from sundog.base.record.identity import find_identity
from sundog.base.record.kept import CONTAINER_UPPER
from sundog.base.record.layer_path import LayerPath
from sundog.base.record.owners import OWNERS_MAGIC
from sundog.errors import EXIT_RUN, SundogError
from sundog.runtime.container.enter import rootless
from sundog.runtime.container.fast_path import SWITCH, LibraryMount, preload, wanted_library
from sundog.runtime.container.leaving import leave_caller
from sundog.runtime.container.operations import DESIRED, Bind
from sundog.runtime.container.own_records import ContainerRecords, OwnRecords
from sundog.runtime.container.paths import exists
from sundog.runtime.emulation.notify.identity.capabilities import all_capabilities
from sundog.runtime.emulation.notify.identity.credentials import superuser
from sundog.runtime.emulation.notify.identity.tags import Tags
from sundog.runtime.emulation.notify.seccomp.trial import obstacle
from sundog.runtime.launcher.ender import Members, start_ender
from sundog.runtime.launcher.mpi import NATIVE_SECURITY_HINT, RANK_NOTE
from sundog.runtime.launcher.orphan import fork_away
from sundog.runtime.launcher.stand_in import StandIn
from sundog.runtime.supervision.emulation import Emulation
from sundog.runtime.supervision.fuse_mounts import HostMounts
from sundog.runtime.supervision.group_source import GroupSource
from sundog.runtime.supervision.members import kill_members
from sundog.runtime.supervision.membership import ERROR, HINT, NOTE, VERBOSE, WARNING, Membership
from sundog.runtime.supervision.supervision import (
    Supervision,
    install_in_group,
    opened_supervision,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from sundog.base.cpython import socket
    from sundog.base.record.identity import Identity
    from sundog.base.record.owners import OwnersManifest
    from sundog.runtime.container.operations import Operation
    from sundog.runtime.container.overlay_directories import OverlayDirectory
    from sundog.runtime.container.plan import Plan
    from sundog.runtime.container.variables import Environment
    from sundog.runtime.launcher.companion import Become
    from sundog.runtime.launcher.image import Image
    from sundog.runtime.launcher.messages import Messages
    from sundog.runtime.launcher.option_values import IdentityOptions
    from sundog.runtime.launcher.options import CommandLine
    from sundog.runtime.supervision.membership import GroupChannel
    from sundog.runtime.supervision.supervised import Supervised

    class KeptRecords(Protocol):
        """Saves the records when the command has ended: see ``OwnRecords``."""

        ended: int  # a descriptor of the file that gets the exit status, or -1

        def descriptors(self) -> tuple[int, ...]: ...  # noqa: D102
        def save(self, manifest: OwnersManifest, /) -> None: ...  # noqa: D102


_ACCOUNTS_LIMIT = 16 << 20  # bytes that are read of the image's accounts


class _Attendant:
    """A supervisor that will run beside the command.  See ``companion.Companion``."""

    __slots__ = (
        *("_has_place", "_host", "_library", "_messages", "_shows_all", "_strict", "_user"),
        *("_volumes", "_writes"),
    )

    def __init__(self, line: CommandLine, messages: Messages, library: bytes) -> None:
        """Read from ``line`` the command's user, and whether the command writes to the image.

        ``library`` is the path of that of the fast path, or b"".

        Call it before the process enters its namespaces.
        """
        self._host = HostMounts()
        caller = os.geteuid(), os.getegid()
        words = _user_words(line.identity)
        if line.identity.is_rank and words in (b"", b"%d" % caller[0]):
            words = b"%d:%d" % caller
            messages.verbose(RANK_NOTE % caller)
        self._user = StartUser(words, messages, caller if line.identity.is_rank else None)
        # Then all that the host shows is the command's own, such as the files of its session.
        self._shows_all = words == b"%d:%d" % caller
        self._strict = line.emulation.strict
        self._volumes = [(path, path in line.mounts.owned) for _, path, _ in line.mounts.binds]
        self._writes = line.image.write and line.image.overlay_size is None
        self._messages = messages
        # Elsewhere a mount point would leave a trace: in the image, or in changes that are kept.
        self._has_place = line.image.overlay_size is not None or line.image.stays_as_it_is
        self._library = LibraryMount(library, b"/run", DESIRED) if library else None

    def mounts(self) -> tuple[Operation, ...]:
        """Return the mount of the library."""
        return (self._library,) if self._library is not None and self._has_place else ()

    def prepare(
        self, image: Image | None, plan: Plan | None, channel: GroupChannel | None
    ) -> PreparedAttendant | _PeerAttendant:
        """Open the records of the ``image``; call it in the container's namespaces.

        ``plan`` has mounted the image; None: another process has done so.  ``channel`` leads to the
        supervisor that the process shares with others.
        """
        user = self._user if image is None else self._user.of_image(image.user)
        if image is None or plan is None:
            if channel is None:
                raise AssertionError("no container and no group")
            return _PeerAttendant(channel, user, self._messages, self._host, library=self._library)
        supervision, records = self._supervision(image, plan)
        if channel is None:
            return PreparedAttendant(
                supervision, records, user, self._messages, self._host, library=self._library
            )
        return _FirstAttendant(
            channel,
            user,
            self._messages,
            self._host,
            library=self._library,
            supervision=supervision,
            records=records,
        )

    def _supervision(self, image: Image, plan: Plan) -> tuple[Supervision, KeptRecords | None]:
        """Open the records of the ``image``."""
        changes, is_lost = None, False
        records: KeptRecords | None = None
        stable = not plan.is_copied
        if image.named:
            is_lost = image.guesses == OWNERS_LOST
            letters = b"" if is_lost else image.guesses
            layers = [
                LayerPath.of(path, guesses=letters[at : at + 1] or OWNERS_KNOWN)
                for at, path in enumerate(image.layers)
            ]
            if image.kept:
                changes, records = image.kept + b"/" + CONTAINER_UPPER, ContainerRecords(image.kept)
        elif image.recorded is not None:
            tree, owners = image.recorded
            layers = [LayerPath(tree, owners, guesses=listed_guesses(tree))]
        else:
            path = image.root.directory
            if self._writes:
                changes, records, stable = path, OwnRecords(path, rootless(path)), False
            owners = path + b"/" + OWN_RECORDS
            letter = listed_guesses(path)
            layers = [LayerPath(path, owners, guesses=letter)] if exists(owners) else []
        # An image that is one file has files of its own, whose mount is another kind of bind.
        binds = [step.destination for step in plan.operations if type(step) is Bind]
        volumes = [(path, False) for path in binds] if self._shows_all else []
        volumes += [(path, takes_all) for path, takes_all in self._volumes if path in binds]
        if plan.overlays and plan.overlays[0].work:
            top = plan.overlays[0]
            changes, stable = top.tree, False
            records = OwnRecords(top.path, rootless(top.tree), rootless(top.place))
        layers = [*map(_overlay_layer, plan.overlays), *layers]
        emulation = Emulation(
            layers,
            changes,
            is_stable=stable,
            strict=self._strict,
            is_lost=is_lost,
            volumes=volumes,
        )
        upper = -1
        if plan.overlay_size is not None and not plan.is_copied:
            upper = rootless(b"/proc/self/fd/%d/upper" % plan.scratch)
        return opened_supervision(emulation, upper), records


class PreparedAttendant:
    """A supervisor that has the records of the image: a ``companion.PreparedCompanion``."""

    __slots__ = ("_library", "_members", "_messages", "_records", "_supervision", "_user")

    def __init__(
        self,
        supervision: Supervision,
        records: KeptRecords | None,
        user: StartUser,
        messages: Messages,
        host: HostMounts,
        *,
        library: LibraryMount | None = None,
    ) -> None:
        self._library = library
        self._members = Members(supervision.proc, host)
        self._supervision = supervision
        self._records = records
        self._user = user
        self._messages = messages

    def preload(self, command: list[bytes], environment: Environment) -> None:
        """Let the command load the library of the fast path, if there is one."""
        if self._library is not None:
            self._library.preload(command, environment)

    def identify(self) -> Identity | None:
        """Return the command's user, None for root; call it in the container's root directory."""
        return self._user.identify()

    def attend(self, who: Identity | None, become: Become) -> int:
        """Run the command beside a supervisor; return its exit status, or die of its signal.

        The command's process calls ``become`` with the function that installs the filter.  The
        method forks twice, and returns in each child, too, with the child's exit status.
        """
        supervision, library = self._supervision, self._library
        page = -1 if library is None else library.page
        return _stand_in_for(
            lambda: become(lambda: supervision.install(who, page=page)),
            lambda parent: self._supervise(parent, who, has_page=page >= 0),
            self._members,
            self._messages,
            -1 if self._records is None else self._records.ended,
        )

    def _supervise(self, parent: int, who: Identity | None, *, has_page: bool) -> int:
        """Be the supervisor; return its exit status: 0 if it has written all records."""
        supervision, members = self._supervision, self._members
        # What is for the command's process group must not end this process.  Its session stays the
        # same: CONFIG_SCHED_AUTOGROUP makes each switch between two sessions dearer.
        os.setpgid(0, 0)

        def parent_died(*_: object) -> None:
            if os.getppid() != parent:
                kill_members(supervision.proc, {os.getpid()})
                os._exit(EXIT_RUN)

        signal(SIGTERM, parent_died)
        set_pdeathsig(SIGTERM)
        pthread_sigmask(SIG_UNBLOCK, {SIGTERM})
        process = os.pidfd_open(parent)
        parent_died()
        kept = () if self._records is None else self._records.descriptors()
        leave_descriptors(
            (STDERR_FILENO, process, *supervision.descriptors(), *members.descriptors(), *kept)
        )
        has_ender = False

        def before_mount() -> None:
            nonlocal has_ender
            if not has_ender:
                has_ender = True
                start_ender(lambda: members, process, self._messages, supervision.proc)

        note = self._messages.note
        supervised = supervision.supervise(who, note, before_mount, has_page=has_page)
        if supervised is None:
            return 0  # the command has printed why
        _print_report(_report_lines(supervised), self._messages)
        if self._records is not None:
            self._records.save(supervised.owners)
        return 0


class _PeerAttendant:
    """The supervisor of a group, which runs already: a ``companion.PreparedCompanion``.

    ``ended`` is as in ``KeptRecords``.  The first process of the group has mounted the ``library``,
    if it has one.
    """

    __slots__ = ("_channel", "_ended", "_host", "_library", "_messages", "_user")

    def __init__(
        self,
        channel: GroupChannel,
        user: StartUser,
        messages: Messages,
        host: HostMounts,
        *,
        library: LibraryMount | None,
        ended: int = -1,
    ) -> None:
        self._channel = channel
        self._ended = ended
        self._host = host
        self._library = library
        self._user = user
        self._messages = messages

    def preload(self, command: list[bytes], environment: Environment) -> None:
        """Let the command load the library that the first process has mounted, if it has."""
        member = self._channel.member
        if self._library is not None and member is not None and member.has_page:
            preload(self._library.destination, command, environment)

    def identify(self) -> Identity | None:
        """Return the command's user, as ``PreparedAttendant.identify`` does."""
        return self._user.identify()

    def attend(self, who: Identity | None, become: Become) -> int:
        """Run the command under the group's supervisor, as ``PreparedAttendant.attend`` does."""
        channel = self._channel
        member = channel.member
        if member is None:
            raise SundogError("the supervisor of the group died", "start again")
        return _stand_in_for(
            lambda: become(lambda: install_in_group(member, who)),
            lambda parent: self._await(parent, member),
            Members(channel.proc, self._host, member.number),
            self._messages,
            self._ended,
        )

    def _await(self, parent: int, member: Membership) -> int:
        """Be a child of the stand-in that ends as the supervisor does; return its exit status."""
        set_pdeathsig(SIGKILL)
        if os.getppid() != parent:
            return EXIT_RUN
        leave_descriptors((STDERR_FILENO, member.connection.fileno()))
        report = member.await_report()
        if report is None:
            os.kill(os.getpid(), SIGKILL)
            return EXIT_RUN
        status, lines = report
        _print_report(lines, self._messages)
        return status


class _FirstAttendant(_PeerAttendant):
    """A supervisor that this process starts, the first one of a group."""

    __slots__ = ("_page", "_records", "_supervision")

    def __init__(
        self,
        channel: GroupChannel,
        user: StartUser,
        messages: Messages,
        host: HostMounts,
        *,
        library: LibraryMount | None,
        supervision: Supervision,
        records: KeptRecords | None,
    ) -> None:
        ended = -1 if records is None else records.ended
        super().__init__(channel, user, messages, host, library=library, ended=ended)
        self._page = -1 if library is None else library.page
        self._supervision = supervision
        self._records = records

    def preload(self, command: list[bytes], environment: Environment) -> None:
        """Let the command load the library, if this process has mounted it."""
        if self._library is not None:
            self._library.preload(command, environment)

    def attend(self, who: Identity | None, become: Become) -> int:
        """Start the supervisor, become a member as the other processes do, and run the command."""
        requests = self._channel.requests
        if requests is None:
            raise AssertionError("this process is not the first one")
        fork_away(lambda: self._serve(requests, who))
        requests.close()
        if self._page >= 0:
            os.close(self._page)
        self._channel.enlist()
        return super().attend(who, become)

    def _serve(self, requests: socket, who: Identity | None) -> None:
        """Be the supervisor until the group has ended, which begins with a command of ``who``."""
        supervision, records = self._supervision, self._records
        saved = () if records is None else records.descriptors()
        opened = (*supervision.descriptors(), *self._host.descriptors(), *saved)
        page = self._page
        if page >= 0:
            opened = (*opened, page)
        leave_caller((requests.fileno(), *opened), b"ch-run-notify")

        def start(process: int, number: int) -> int:
            members = Members(supervision.proc, self._host, number)
            return start_ender(lambda: members, process, self._messages, supervision.proc)

        tags = Tags(superuser(all_capabilities()))
        source = GroupSource(
            *(requests, supervision.proc, tags, start),
            strict=supervision.strict,
            has_page=page >= 0,
        )
        supervised = supervision.answer(source, tags, who, page=page)
        status, lines = 0, _report_lines(supervised)
        if records is not None:
            try:
                records.save(supervised.owners)
            except SundogError as error:
                status = EXIT_RUN
                lines += [(ERROR, error.message), (HINT, error.hint)]
        source.dismiss(status, lines)


class StartUser:
    """The user with whom the command starts.

    words    USER[:GROUP]; empty: root
    caller   user and group whose name a rank of MPI has to have, None for any other command
    """

    __slots__ = ("_caller", "_messages", "_words")

    def __init__(self, words: bytes, messages: Messages, caller: tuple[int, int] | None) -> None:
        self._words = words
        self._messages = messages
        self._caller = caller

    def of_image(self, words: bytes) -> StartUser:
        """Return the user in an image whose USER is ``words``."""
        return StartUser(self._words or words, self._messages, self._caller)

    def identify(self) -> Identity | None:
        """Return the user that the words name in the root directory's accounts; None without words.

        Raises SundogError, also if PMIx would refuse the rank and let it wait.
        """
        if not self._words:
            return None
        who = find_identity(self._words, _contents(b"/etc/passwd"), _contents(b"/etc/group"))
        groups = " ".join(map(str, who.groups))
        self._messages.verbose(f"emulated user: uid {who.uid}, gid {who.gid}, groups {groups}")
        if self._caller not in (None, (who.uid, who.gid)):
            raise SundogError(
                f"PMIx would refuse this rank, because it calls itself user {who.uid}, "
                f"group {who.gid}",
                NATIVE_SECURITY_HINT % self._caller,
            )
        return who


def _stand_in_for(
    start: Callable[[], int],
    supervise: Callable[[int], int],
    members: Members,
    messages: Messages,
    note: int = -1,
) -> int:
    """Fork twice: to ``start`` the command, and to ``supervise`` it; stand in for the command.

    ``supervise`` gets the process ID of the stand-in.  The ``members`` end with the command.
    ``note`` is a descriptor of the file that gets the exit status of the command, or -1.  Returns
    the exit status of each of the three processes.
    """
    parent = os.getpid()
    # The command's process undoes these changes.  The stand-in passes signals on to it.
    chld = signal(SIGCHLD, SIG_DFL)
    mask = pthread_sigmask(SIG_BLOCK, valid_signals())
    set_child_subreaper()
    set_dumpable(False)
    supervisor = fork_below(members.proc)
    if supervisor == 0:
        return supervise(parent)
    command = fork_below(members.proc)
    if command == 0:
        set_pdeathsig(SIGKILL)
        if os.getppid() != parent:
            return EXIT_RUN
        signal(SIGCHLD, chld)
        pthread_sigmask(SIG_SETMASK, mask)
        return start()
    noted = () if note < 0 else (note,)
    leave_descriptors((STDERR_FILENO, *members.descriptors(), *noted))
    return StandIn(command, supervisor, members, note).stand(messages)


def _report_lines(supervised: Supervised) -> list[tuple[str, str]]:
    """Return what the supervisor did, as lines with their kinds."""
    lines = [(VERBOSE, text) for text in (*supervised.statistics, *supervised.incidents)]
    lines += [(NOTE, text) for text in supervised.hints]
    if supervised.failures:
        warning = f"root emulation failed to answer {supervised.failures} calls"
        lines.append((WARNING, warning))
    return lines


def _print_report(lines: list[tuple[str, str]], messages: Messages) -> None:
    """Print lines with their kinds; a hint follows its error."""
    for place, (kind, text) in enumerate(lines):
        if kind == VERBOSE:
            messages.verbose(text)
        elif kind == WARNING:
            messages.warning(text + ("" if messages.verbosity >= 1 else ": see them with -v"))
        elif kind == NOTE:
            messages.note(text)
        elif kind == ERROR:
            _, hint = lines[place + 1] if place + 1 < len(lines) else ("", "")
            messages.error(text, hint)


def attendant_for(
    line: CommandLine, environment: Environment, messages: Messages
) -> _Attendant | None:
    """Return the supervisor that ``line`` asks for; None if --seccomp must take its place.

    Raises SundogError if ``line`` has --seccomp, or if it forbids --seccomp to take that place.
    """
    if line.emulation.seccomp:
        raise SundogError(
            "--seccomp incompatible with --notify",
            "leave out --seccomp; ch-run uses it if --notify is not possible",
        )
    reason = obstacle()
    if not reason:
        library = wanted_library(environment.get(SWITCH), strict=line.emulation.strict)
        return _Attendant(line, messages, library)
    fault = "--notify is not possible here"
    if not line.emulation.fallback:
        raise SundogError(
            f"{fault}: {reason}", referring("leave out --no-fallback; or use --seccomp")
        )
    if line.identity.user:
        raise SundogError(
            f"{fault}: {reason}", referring("leave out --user; give numbers with -u and -g")
        )
    messages.warning(f"{fault}, using --seccomp: {reason}")
    return None


def _overlay_layer(overlay: OverlayDirectory) -> LayerPath:
    """Return a directory of --overlay as a layer; without records, all in it is root's."""
    records = overlay.place + b"/" + RECORDS
    if not exists(records):
        records = b"/proc/self/fd/%d" % memory_file(b"owners", OWNERS_MAGIC)
    return LayerPath(overlay.tree, records)


def _user_words(identity: IdentityOptions) -> bytes:
    """Return --user, else -u and -g as USER[:GROUP], else b""."""
    if identity.user:
        return identity.user
    if identity.uid is None and identity.gid is None:
        return b""
    user = b"%d" % (identity.uid or 0)
    return user if identity.gid is None else b"%b:%d" % (user, identity.gid)


def _contents(path: bytes) -> bytes:
    """Return the content of a file of the image, or b"" if it is no file that can be read."""
    fd = open_regular(AT_FDCWD, path, 0)
    if fd < 0:
        return b""
    try:
        with open(fd, "rb") as file:
            return file.read(_ACCOUNTS_LIMIT)
    except OSError:
        return b""
