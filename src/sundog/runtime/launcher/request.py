"""A start as the command line and the caller's environment ask for it."""

from __future__ import annotations

from posix import environ

from sundog.base.configuration.storage import default_storage, usual_storage
from sundog.base.kernel.libc import printable
from sundog.base.record.lazy_layer import LAZY_VARIABLE
from sundog.errors import EXIT_ERROR, UsageError
from sundog.runtime.container.operations import CREATED
from sundog.runtime.container.paths import absolute, exists
from sundog.runtime.emulation.terminal import typing_is_possible
from sundog.runtime.launcher.configured import configuration_of, configured_temporary
from sundog.runtime.launcher.environment import SetFromImage
from sundog.runtime.launcher.help import help_text
from sundog.runtime.launcher.host_places import TMP, TemporaryDirectory
from sundog.runtime.launcher.image import image_name
from sundog.runtime.launcher.image_choice import choose_storage, command_missing
from sundog.runtime.launcher.mpi import (
    NATIVE_SECURITY_WARNING,
    is_compared,
    native_security_fails,
)
from sundog.runtime.launcher.one_file import is_stored_name
from sundog.runtime.launcher.option_numbers import lazy_way
from sundog.runtime.launcher.options import CommandLine, Finished
from sundog.runtime.launcher.root_emulation import chosen_companion, chosen_ids
from sundog.runtime.launcher.run_plan import LOCAL_TIME, needed
from sundog.runtime.launcher.statuses import APPTAINER_STATUSES

# An image in a layout or an archive: see ``layout``.
_LAYOUT_PREFIXES = (b"oci:", b"oci-archive:", b"docker-archive:")
# The variables of the profile, for each process that enters the container: see host_mpi.shown.
_HOST_MPI_ENVIRONMENT = b"/.sundog/environment"
_NO_HOST_MPI = (
    "the group's container does not have the host's MPI",
    "give --host-mpi to all processes of a group, or to none",
)

_NOT_LAZY = b"no"
# ``sundog apptainer instance`` sets it: see ``idle``.
_IDLE_VARIABLE = b"SUNDOG_IDLE"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.configuration.stores import SharedImage
    from sundog.runtime.container.variables import Environment
    from sundog.runtime.launcher.idle import Idle
    from sundog.runtime.launcher.messages import Messages
    from sundog.runtime.launcher.statuses import Statuses
    from sundog.runtime.launcher.storage import Storage


class Request:
    """A start of ``ch-run``: its command line, and all that follows from it without an image.

    word         IMAGE as the user gave it; ``line`` may get its name in storage
    holding      the configuration
    companion    decides which processes stay beside the command
    fetcher      the channel to a process that fetches the rest of the image, or -1
    idle         stays idle in place of the command; None: the command runs
    is_attended  whether one of them is the supervisor of --notify
    uid, gid     those of the user namespace, outside of root emulation
    typing       whether the kernel lets programs type into terminals
    """

    __slots__ = (
        "_storage",
        "companion",
        "environment",
        "fetcher",
        "gid",
        "holding",
        "idle",
        "is_attended",
        "line",
        "messages",
        "statuses",
        "typing",
        "uid",
        "word",
    )

    def __init__(
        self,
        line: CommandLine,
        environment: Environment,
        messages: Messages,
        statuses: Statuses,
    ) -> None:
        """Decide all that needs no image.  Raises SundogError."""
        self.line = line
        self.environment = environment
        self.messages = messages
        self.statuses = statuses
        self.word = line.operands[0]
        self.holding = configuration_of(line, environment, messages)
        if line.image.storage is None:
            self._storage = default_storage(environment, self.holding)
        else:
            self._storage = line.image.storage
            if not exists(line.image.storage):
                messages.warning(f"storage directory not found: {printable(line.image.storage)}")
        idle = environment.get(_IDLE_VARIABLE)
        self.fetcher = -1
        self.idle = None if idle is None else _load_idle(idle)
        self.companion, self.is_attended = chosen_companion(line, environment, messages)
        self.uid, self.gid = chosen_ids(line, is_attended=self.is_attended)
        self.typing = typing_is_possible()

    def tell_container(self) -> None:
        """Tell at -v which container starts, and for whom."""
        verbose = self.messages.verbose
        verbose(f"verbosity: {self.messages.verbosity}")
        verbose(f"image: {printable(self.word)}")
        verbose(f"storage: {printable(self._storage)}")
        verbose(f"container uid: {self.uid}")
        verbose(f"container gid: {self.gid}")

    def tell_options(self) -> None:
        """Tell at -v how it starts, and warn of a rank that PMIx will refuse."""
        line, messages = self.line, self.messages
        messages.verbose(f"private /tmp: {line.mounts.private_tmp:d}")
        seccomp = line.emulation.seccomp or (line.emulation.notify and not self.is_attended)
        messages.verbose(f"seccomp: {seccomp:d}")
        messages.verbose(f"unsafe: {line.image.unsafe:d}")
        seen = (line.identity.uid or 0) if line.emulation.notify else self.uid
        if not line.identity.is_rank and native_security_fails(self.environment, seen):
            messages.warning(NATIVE_SECURITY_WARNING % seen)

    @property
    def need(self) -> str:
        """The need of what all containers show; those of Apptainer get all mount points."""
        return CREATED if self.statuses is APPTAINER_STATUSES else needed(self.line.image)

    @property
    def own_files(self) -> tuple[bytes, ...]:
        """The host's files that only containers of Apptainer show, in place of links there."""
        return (LOCAL_TIME,) if self.statuses is APPTAINER_STATUSES else ()

    def temporary_directory(self) -> TemporaryDirectory:
        """Return the part of the container's /tmp."""
        usual = configured_temporary(self.holding, self.environment) or TMP
        return TemporaryDirectory(self.line, self.environment, self.need, usual)

    def find_storage(self) -> Storage:
        """Find the storage directory of the image, on the host.

        ``line`` gets the image's name there.  Raises SundogError if the image must not run.
        """
        path = absolute(self._storage).rstrip(b"/") or b"/"
        is_lazy = self._is_lazy()
        if self.word.startswith(_LAYOUT_PREFIXES):
            from sundog.runtime.launcher.layout import use_layout

            use_layout(self.line, path, self.environment, self.messages, is_lazy=is_lazy)
        usual = usual_storage(self.environment, self.holding)
        storage = choose_storage(self.line, path, usual)
        if is_lazy and self._is_nowhere(storage):
            from sundog.runtime.launcher.lazy_image import pull_image

            self.fetcher = pull_image(self.line, path, self.environment)
            storage = choose_storage(self.line, path, usual)
        return storage

    def _is_lazy(self) -> bool:
        """Tell whether --lazy is given, or $CH_RUN_LAZY set.

        What fetches the rest of an image learns how.  Raises SundogError.
        """
        way = self.line.image.lazy
        if way is None:
            way = self.environment.get(LAZY_VARIABLE) or b""
            if not way:
                return False
            way = lazy_way(way, "$CH_RUN_LAZY")
        environ[LAZY_VARIABLE] = way
        return way != _NOT_LAZY

    def _is_nowhere(self, storage: Storage) -> bool:
        """Tell whether the image is a name, and neither here nor in a shared store."""
        word = self.line.operands[0]
        if self.line.image.container or image_name(word) is None:
            return False
        if is_stored_name(word, storage) or exists(word):
            return False
        return self.find_shared(storage) is None

    def find_shared(self, storage: Storage) -> SharedImage | None:
        """Return the shared image of ``line`` if it is a name, and neither stored nor a path.

        Few starts load what looks there.  Raises SundogError.
        """
        word = self.line.operands[0]
        name = None if self.line.image.container else image_name(word)
        if name is None or is_stored_name(word, storage) or exists(word):
            return None
        from sundog.runtime.launcher.shared_image import find_shared

        return find_shared(self.line, name, self.environment, self.holding, storage)


def read_command_line(
    arguments: list[bytes], environment: Environment, messages: Messages
) -> CommandLine:
    """Return the command line ``arguments``, with what follows from ``environment`` alone.

    Raises SundogError, and Finished without arguments, and for --help and its like.
    """
    if not arguments:
        raise Finished(EXIT_ERROR, help_text(), on_stderr=True)
    line = CommandLine(arguments, messages, permute=b"POSIXLY_CORRECT" not in environment)
    if not line.operands:
        raise command_missing()
    _use_host_environment(line)
    if line.emulation.notify and is_compared(environment):
        line.identity.be_rank()
    return line


def _load_idle(text: bytes) -> Idle:
    """Return what takes the place of the command.  Few starts load it."""
    from sundog.runtime.launcher.idle import Idle

    return Idle(text)


def _use_host_environment(line: CommandLine) -> None:
    """Let the command have the variables of the profile, before those of --set-env.

    Raises UsageError for --host-glibc alone.
    """
    if line.host_mpi.profile is not None:
        line.environment.changes.insert(0, SetFromImage(b"\0", _HOST_MPI_ENVIRONMENT, _NO_HOST_MPI))
    elif line.host_mpi.glibc:
        raise UsageError(
            "--host-glibc needs --host-mpi", "give both options, or leave out --host-glibc"
        )
