"""``ch-run``'s command line, by the rules of the C library's getopt_long(3) and argp.

* Options may follow the operands, up to ``--``.
* The user may abbreviate long options.
* An optional argument must be attached to its option.
* Options act, or fail, in the order of the command line.

Values are bytes.
"""

from posix import environ

from sundog import __version__
from sundog.base.kernel.libc import printable
from sundog.base.record.kept import is_container_id
from sundog.errors import SundogError
from sundog.runtime.container.bind_option import parse_bind, split_owned
from sundog.runtime.container.memory_share import overlay_share
from sundog.runtime.container.paths import absolute
from sundog.runtime.container.tmpfs_option import parse_tmpfs
from sundog.runtime.launcher.environment import (
    EnvironmentChange,
    SetFromImage,
    SetVariables,
    UnsetMatching,
    has_extglob,
    is_extended_pattern,
    parse_exactly,
    parse_variable,
    read_variables,
)
from sundog.runtime.launcher.help import ACCEPTED, help_text, usage_text
from sundog.runtime.launcher.messages import Messages
from sundog.runtime.launcher.option_numbers import parse_id, parse_number
from sundog.runtime.launcher.option_scan import scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.operations import TmpfsMount


class Finished(Exception):
    """An option has done all that it asks for; print ``text`` and exit with ``status``."""

    def __init__(self, status: int, text: str = "", *, on_stderr: bool = False) -> None:
        super().__init__(status)
        self.status = status
        self.text = text
        self.on_stderr = on_stderr


class CommandLine:
    """The options and operands of one ``ch-run``."""

    __slots__ = (
        "all_devices",
        "binds",
        "cdi_dirs",
        "cdi_hooks",
        "changes",
        "container",
        "device_variables",
        "devices",
        "directory",
        "dry",
        "expand",
        "fallback",
        "gid",
        "home",
        "host_glibc",
        "host_mpi",
        "is_rank",
        "join",
        "join_ct",
        "join_pid",
        "join_tag",
        "messages",
        "mount_point",
        "mpi_env",
        "notify",
        "operands",
        "overlay_size",
        "owned",
        "passwd",
        "private_tmp",
        "seccomp",
        "storage",
        "strict",
        "tmpfs",
        "uid",
        "unsafe",
        "user",
        "write",
    )

    def __init__(self, messages: Messages) -> None:
        self.messages = messages
        self.operands: list[bytes] = []
        self.binds: list[tuple[bytes, bytes, bool | None]] = []
        self.owned: set[bytes] = set()  # the destinations of binds with the mode U
        self.changes: list[EnvironmentChange] = []
        self.tmpfs: list[TmpfsMount] = []
        self.devices: list[bytes] = []
        self.device_variables: SetVariables | None = None
        self.cdi_dirs: bytes | None = None
        self.directory: bytes | None = None
        self.mount_point: bytes | None = None
        self.storage: bytes | None = None
        self.uid: int | None = None
        self.gid: int | None = None
        self.overlay_size: bytes | None = None
        self.host_mpi: bytes | None = None
        self.join_ct: int | None = None
        self.join_pid: int | None = None
        self.join_tag: bytes | None = None
        self.container = self.user = b""
        self.expand = self.fallback = self.mpi_env = self.passwd = True
        self.all_devices = self.cdi_hooks = self.dry = self.home = self.host_glibc = False
        self.is_rank = self.join = False
        self.notify = self.private_tmp = self.seccomp = self.strict = False
        self.unsafe = self.write = False

    def read(self, arguments: list[bytes], *, permute: bool = True) -> None:
        """Read ``arguments`` from left to right.

        Raises UsageError for an option that does not exist or lacks its argument, SundogError for
        an impossible value, and Finished for --help and its like.
        """
        for name, value in scan(arguments, permute=permute):
            getattr(self, "read_" + name.replace("-", "_"))(value)

    def be_rank(self) -> None:
        """Let the command be a rank of MPI that has to call itself by the caller's user."""
        self.is_rank = True

    def read_operand(self, value: bytes) -> None:
        """Add IMAGE, COMMAND or an ARG."""
        self.operands.append(value)

    def read_accepted(self, value: bytes) -> None:
        """Say what ``value``, an option of podman, would mean."""
        self.messages.note(f"{printable(value)} has no effect: {ACCEPTED[value]}")

    def read_bind(self, value: bytes) -> None:
        """-b, --bind SRC[:DST[:MODE[,U]]]."""
        value, is_owned = split_owned(value)
        bind = parse_bind(value)
        self.binds.append(bind)
        if is_owned:
            self.owned.add(bind[1])

    def read_cd(self, value: bytes) -> None:
        """-c, --cd DIR."""
        self.directory = value

    def read_cdi_dirs(self, value: bytes) -> None:
        """--cdi-dirs DIR[:DIR]."""
        self.cdi_dirs = value

    def read_cdi_hooks(self, _: None) -> None:
        """--cdi-hooks."""
        self.cdi_hooks = True

    def read_container(self, value: bytes) -> None:
        """--container ID."""
        if not is_container_id(value):
            raise SundogError(f"--container: not an ID: {printable(value)}", "see: sundog ps -a")
        self.container = value

    def read_device(self, value: bytes) -> None:
        """--device DEVICE; its variables will be set in the order of the command line."""
        self.devices.append(value)
        self.device_variables = SetVariables([], verbatim=True)
        self.changes.append(self.device_variables)

    def read_devices(self, _: None) -> None:
        """-d, --devices."""
        self.all_devices = True
        self.device_variables = SetVariables([], verbatim=True)
        self.changes.append(self.device_variables)

    def read_dry_run(self, _: None) -> None:
        """--dry-run."""
        self.dry = True

    def read_env(self, value: bytes) -> None:
        """-e, --env NAME[=VALUE]."""
        self.changes.append(parse_exactly(value))

    def read_env_no_expand(self, _: None) -> None:
        """--env-no-expand; it also acts on the options before it."""
        self.expand = False

    def read_feature(self, value: bytes) -> None:
        """--feature FEAT."""
        from sundog.runtime.launcher.feature import feature_status

        raise Finished(feature_status(value))

    def read_gid(self, value: bytes) -> None:
        """-g, --gid GID."""
        self.gid = parse_id(value, "--gid")

    def read_home(self, _: None) -> None:
        """--home."""
        self.home = True

    def read_host_glibc(self, _: None) -> None:
        """--host-glibc."""
        self.host_glibc = True

    def read_host_mpi(self, value: bytes | None) -> None:
        """--host-mpi[=PROFILE]."""
        self.host_mpi = value or b""

    def read_join(self, _: None) -> None:
        """-j, --join."""
        self.join = True

    def read_join_ct(self, value: bytes) -> None:
        """--join-ct NUM."""
        self.join, self.join_ct = True, parse_number(value, "--join-ct")

    def read_join_pid(self, value: bytes) -> None:
        """--join-pid PID."""
        self.join_pid = parse_number(value, "--join-pid")

    def read_join_tag(self, value: bytes) -> None:
        """--join-tag TAG."""
        self.join, self.join_tag = True, value

    def read_mount(self, value: bytes) -> None:
        """-m, --mount DIR."""
        if not value:
            raise SundogError("mount point can't be empty string")
        self.mount_point = absolute(value)

    def read_no_fallback(self, _: None) -> None:
        """--no-fallback."""
        self.fallback = False

    def read_notify(self, value: bytes | None) -> None:
        """--notify[=strict]."""
        if value not in (None, b"strict"):
            raise SundogError(f"--notify: no such level: {printable(value)}", "one of: strict")
        self.notify, self.strict = True, value is not None

    def read_no_mpi_env(self, _: None) -> None:
        """--no-mpi-env."""
        self.mpi_env = False

    def read_no_passwd(self, _: None) -> None:
        """--no-passwd."""
        self.passwd = False

    def read_private_tmp(self, _: None) -> None:
        """-t, --private-tmp."""
        self.private_tmp = True

    def read_quiet(self, _: None) -> None:
        """-q, --quiet."""
        if self.messages.verbosity > 0:
            raise SundogError("--quiet incompatible with --verbose")
        if self.messages.verbosity == -3:
            raise SundogError("--quiet can be specified at most thrice")
        self.messages.verbosity -= 1

    def read_seccomp(self, _: None) -> None:
        """--seccomp."""
        self.seccomp = True

    def read_set_env(self, value: bytes | None, delimiter: bytes = b"\n") -> None:
        """--set-env[=ARG]; reads a file at once, on the host."""
        if value is None:
            self.changes.append(SetFromImage(delimiter))
        elif b"=" in value:
            self.changes.append(SetVariables([parse_variable(value, printable(value))]))
        else:
            self.changes.append(SetVariables(read_variables(value, delimiter)))

    def read_set_env0(self, value: bytes | None) -> None:
        """--set-env0[=ARG]."""
        self.read_set_env(value, b"\0")

    def read_storage(self, value: bytes) -> None:
        """-s, --storage DIR."""
        self.storage = value

    def read_test(self, value: bytes) -> None:
        """--test WHAT: log prints a message of each level; log-fail fails after that."""
        if value not in (b"log", b"log-fail"):
            raise SundogError(f"--test: no such test: {printable(value)}", "one of: log, log-fail")
        self.messages.verbose("this is a message of level verbose")
        self.messages.debug("this is a message of level debug")
        self.messages.warning("this is a message of level warning")
        if value == b"log-fail":
            raise SundogError("the program failed as it was asked to (--test=log-fail)")
        raise Finished(0)

    def read_tmpfs(self, value: bytes) -> None:
        """--tmpfs DIR[:OPTION,...]."""
        self.tmpfs.append(parse_tmpfs(value))

    def read_uid(self, value: bytes) -> None:
        """-u, --uid UID."""
        self.uid = parse_id(value, "--uid")

    def read_unsafe(self, _: None) -> None:
        """--unsafe."""
        self.unsafe = True

    def read_unset_env(self, value: bytes) -> None:
        """--unset-env GLOB."""
        if not value:
            raise SundogError("--unset-env: GLOB must have non-zero length")
        if is_extended_pattern(value) and not has_extglob():
            raise SundogError(
                f"--unset-env: the C library knows no extended patterns: {printable(value)}",
                "repeat --unset-env, with one plain pattern each; see: ch-run --feature=extglob",
            )
        self.changes.append(UnsetMatching(value))

    def read_user(self, value: bytes) -> None:
        """--user NAME[:GROUP]."""
        if not value:
            raise SundogError("--user: NAME must have non-zero length")
        self.user, self.notify = value, True

    def read_verbose(self, _: None) -> None:
        """-v, --verbose."""
        if self.messages.verbosity < 0:
            raise SundogError("--verbose incompatible with --quiet")
        if self.messages.verbosity == 3:
            raise SundogError("--verbose can be specified at most thrice")
        self.messages.verbosity += 1

    def read_warnings(self, value: bytes) -> None:
        """--warnings NUM."""
        for number in range(1, parse_number(value, "--warnings") + 1):
            self.messages.warning(f"this is warning {number}!")
        self.messages.reprint_warnings()
        raise Finished(0)

    def read_write(self, _: None) -> None:
        """-w, --write."""
        self.write = True

    def read_write_fake(self, value: bytes | None) -> None:
        """-W, --write-fake[=SIZE]."""
        self.overlay_size = value or overlay_share(environ.get)

    def read_help(self, _: None) -> None:
        """-?, --help."""
        raise Finished(0, help_text())

    def read_usage(self, _: None) -> None:
        """--usage."""
        raise Finished(0, usage_text())

    def read_version(self, _: None) -> None:
        """-V, --version; on standard error, as in Charliecloud."""
        raise Finished(0, __version__ + "\n", on_stderr=True)
