"""``ch-run``'s command line, read as the C library's getopt_long(3) and argp read one.

So options may follow the operands until ``--``, long ones may be abbreviated, an optional argument
must be attached, and what an option asks for happens, or fails, in the order of the command line.

Floor 0.  Values are bytes.
"""

from sundog import __version__
from sundog.container.paths import absolute
from sundog.errors import SundogError, UsageError
from sundog.kernel.libc import printable
from sundog.launcher.environment import (
    EnvironmentChange,
    SetFromImage,
    SetVariables,
    UnsetMatching,
    parse_variable,
    read_variables,
)
from sundog.launcher.feature import feature_status
from sundog.launcher.messages import Messages
from sundog.record.identity import ID_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

USAGE = "ch-run [OPTION...] IMAGE [-- COMMAND [ARG...]]"

# short, long, argument (in brackets: optional), and what the help says
OPTIONS = (
    ("b", "bind", "SRC[:DST]", "show SRC of the host at DST (default: the same path)"),
    ("c", "cd", "DIR", "start COMMAND in DIR of the container"),
    ("", "env-no-expand", "", "leave $ in the values of --set-env as it is"),
    ("", "feature", "FEAT", "exit successfully if FEAT works on this machine"),
    ("g", "gid", "GID", "run as group GID within the container"),
    ("", "no-fallback", "", "fail where --notify is not possible, instead of --seccomp"),
    ("", "no-passwd", "", "leave the image's /etc/passwd and /etc/group as they are"),
    ("", "notify", "", "be root, as far as COMMAND can see: a supervisor remembers (below)"),
    ("t", "private-tmp", "", "use a /tmp of the container's own"),
    ("q", "quiet", "", "say less: no output of COMMAND, twice no warnings, thrice no errors"),
    ("", "seccomp", "", "fake the system calls that need root"),
    ("", "set-env", "[ARG]", "set NAME=VALUE, or the variables in a file (/ch/environment)"),
    ("", "set-env0", "[ARG]", "the same, with NUL between the variables of the file"),
    ("s", "storage", "DIR", "look for images in DIR"),
    ("u", "uid", "UID", "run as user UID within the container"),
    ("", "unsafe", "", "allow to run a directory inside the storage directory"),
    ("", "unset-env", "GLOB", "drop the variables whose names match GLOB"),
    ("v", "verbose", "", "say more: what is done, twice how, thrice all"),
    ("", "warnings", "NUM", "say NUM warnings and exit"),
    ("w", "write", "", "mount the image read-write (a directory image only)"),
    ("W", "write-fake", "[SIZE]", "let COMMAND write; it is all lost at the end (12%)"),
    ("?", "help", "", "show this help and exit"),
    ("", "usage", "", "show a short usage message and exit"),
    ("V", "version", "", "show the version and exit"),
)

OVERLAY_SIZE_DEFAULT = b"12%"


class Finished(Exception):
    """The command line asked for something that is done now; exit with ``status``."""

    def __init__(self, status: int, text: str = "", *, on_stderr: bool = False) -> None:
        super().__init__(status)
        self.status = status
        self.text = text
        self.on_stderr = on_stderr


class CommandLine:
    """What one ``ch-run`` was asked for."""

    __slots__ = (
        "binds",
        "changes",
        "directory",
        "expand",
        "fallback",
        "gid",
        "messages",
        "notify",
        "operands",
        "overlay_size",
        "passwd",
        "private_tmp",
        "seccomp",
        "storage",
        "uid",
        "unsafe",
        "write",
    )

    def __init__(self, messages: Messages) -> None:
        self.messages = messages
        self.operands: list[bytes] = []
        self.binds: list[tuple[bytes, bytes]] = []
        self.changes: list[EnvironmentChange] = []
        self.directory: bytes | None = None
        self.storage: bytes | None = None
        self.uid: int | None = None
        self.gid: int | None = None
        self.overlay_size: bytes | None = None
        self.expand = self.fallback = self.passwd = True
        self.notify = self.private_tmp = self.seccomp = self.unsafe = self.write = False

    def read(self, arguments: list[bytes], *, permute: bool = True) -> None:
        """Read ``arguments`` from left to right.

        Raises UsageError for an option that does not exist or lacks its argument, SundogError for a
        value that cannot be, and Finished for --help and its like.
        """
        for name, value in scan(arguments, permute=permute):
            getattr(self, "read_" + name.replace("-", "_"))(value)

    def read_operand(self, value: bytes) -> None:
        """Take IMAGE, COMMAND or an ARG."""
        self.operands.append(value)

    def read_bind(self, value: bytes) -> None:
        """-b, --bind SRC[:DST]."""
        source, colon, destination = value.partition(b":")
        if not source:
            raise SundogError("--bind: no source provided")
        if not colon:
            destination = source
        if not destination:
            raise SundogError("--bind: no destination provided")
        if not destination.startswith(b"/"):
            raise SundogError(
                "--bind: destination must be absolute",
                f"give it: --bind={printable(source)}:/PATH",
            )
        if not destination.replace(b".", b"/").strip(b"/"):
            raise SundogError("--bind: destination can't be /")
        self.binds.append((absolute(source), destination))

    def read_cd(self, value: bytes) -> None:
        """-c, --cd DIR."""
        self.directory = value

    def read_env_no_expand(self, _: None) -> None:
        """--env-no-expand, wherever it stands."""
        self.expand = False

    def read_feature(self, value: bytes) -> None:
        """--feature FEAT."""
        raise Finished(feature_status(value))

    def read_gid(self, value: bytes) -> None:
        """-g, --gid GID."""
        self.gid = parse_id(value, "--gid")

    def read_no_fallback(self, _: None) -> None:
        """--no-fallback."""
        self.fallback = False

    def read_notify(self, _: None) -> None:
        """--notify."""
        self.notify = True

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
        """--set-env[=ARG]; a file is read here and now, on the host."""
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
        self.changes.append(UnsetMatching(value))

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
        self.overlay_size = value or OVERLAY_SIZE_DEFAULT

    def read_help(self, _: None) -> None:
        """-?, --help."""
        raise Finished(0, help_text())

    def read_usage(self, _: None) -> None:
        """--usage."""
        raise Finished(0, usage_text())

    def read_version(self, _: None) -> None:
        """-V, --version; on standard error, as the reference has it."""
        raise Finished(0, __version__ + "\n", on_stderr=True)


def scan(arguments: list[bytes], *, permute: bool = True) -> "Iterator[tuple[str, bytes | None]]":
    """Yield the long name and the argument of each option, ("operand", word) for each operand.

    Without ``permute`` the first operand ends the options, as POSIX wants.
    """
    words = iter(arguments)
    for word in words:
        if word == b"--":
            break
        if word.startswith(b"--"):
            name, equals, value = word[2:].partition(b"=")
            long, argument = find_long(name)
            if not argument and equals:
                raise usage_error(f"option '--{long}' doesn't allow an argument")
            if equals:
                yield long, value
            elif not argument or argument.startswith("["):
                yield long, None
            else:
                yield long, next_argument(words, f"option '--{long}' requires an argument")
        elif word.startswith(b"-") and word != b"-":
            letters = word[1:]
            while letters:
                long, argument = find_short(letters[:1])
                letter, letters = letters[:1], letters[1:]
                if not argument:
                    yield long, None
                    continue
                if letters or argument.startswith("["):
                    yield long, letters or None  # the rest of the word is the argument
                else:
                    text = f"option requires an argument -- '{printable(letter)}'"
                    yield long, next_argument(words, text)
                break
        else:
            yield "operand", word
            if not permute:
                break
    for word in words:
        yield "operand", word


def find_long(name: bytes) -> tuple[str, str]:
    """Return (long name, argument) of the option that ``name`` names or begins alone."""
    shown = printable(name)
    found = [(long, argument) for _, long, argument, _ in OPTIONS if long.startswith(shown)]
    for option in found:
        if option[0] == shown:
            return option
    if not found:
        raise usage_error(f"unrecognized option '--{shown}'")
    if len(found) > 1:
        names = " ".join(f"'--{long}'" for long, _ in found)
        raise usage_error(f"option '--{shown}' is ambiguous; possibilities: {names}")
    return found[0]


def find_short(letter: bytes) -> tuple[str, str]:
    """Return (long name, argument) of the option -``letter``."""
    shown = printable(letter)
    for short, long, argument, _ in OPTIONS:
        if short == shown:
            return long, argument
    raise usage_error(f"invalid option -- '{shown}'")


def next_argument(words: "Iterator[bytes]", complaint: str) -> bytes:
    """Return the next word, whatever it looks like, as the argument of an option."""
    word = next(words, None)
    if word is None:
        raise usage_error(complaint)
    return word


def usage_error(text: str) -> UsageError:
    """Return the exception for a command line that does not follow the syntax."""
    return UsageError(text, "see: ch-run --help; options of COMMAND's own belong behind --")


def parse_number(value: bytes, name: str) -> int:
    """Return the decimal number ``value``, as strtol(3) reads it, of the option ``name``."""
    digits = value.lstrip()
    sign = digits[:1] if digits[:1] in (b"-", b"+") else b""
    digits = digits[len(sign) :]
    rest = digits.lstrip(b"0123456789")
    digits = digits[: len(digits) - len(rest)]
    if not digits:
        raise SundogError(f"{name}: no digits found")
    if rest:
        raise SundogError(f"{name}: extra characters after digits")
    return int(sign + digits)


def parse_id(value: bytes, name: str) -> int:
    """Return the uid or gid ``value`` of the option ``name``."""
    number = parse_number(value, name)
    if number < 0:
        raise SundogError(f"{name}: must be non-negative")
    if number > ID_LIMIT:
        raise SundogError(f"{name}: out of range")
    return number


def help_text() -> str:
    """Return what --help says."""
    lines = [f"Usage: {USAGE}", "Run a command in a container made from an image.", ""]
    for short, long, argument, description in OPTIONS:
        letter = f"-{short}," if short else "   "
        lines.append(f"  {letter} --{long + attached(argument):<22} {description}")
    lines += [
        "",
        "IMAGE is the name of an image in the storage directory (see ch-image list), or a",
        "directory.  Without COMMAND, the image's own entrypoint and command run.  Options of",
        "COMMAND belong behind the --.",
        "",
        "With --notify COMMAND is the image's USER, or -u and -g, or else root, as far as it can",
        "see; it finds the owners, groups and devices of the image, and what it changes of them",
        "is remembered as long as the files are: with -w in DIR/ch/owners. What it leaves running",
        "ends with it. Where that is not possible --seccomp stands in, with a warning, unless",
        "--no-fallback is given. It is no security boundary.",
        "",
        "Exit status: the command's own; 31 when ch-run fails, 49 when COMMAND cannot be executed,",
        "64 when an option is wrong.",
    ]
    return "\n".join(lines) + "\n"


def usage_text() -> str:
    """Return what --usage says."""
    lines = ["Usage: ch-run"]
    for short, long, argument, _ in OPTIONS:
        word = f"[{'-' + short + '|' if short else ''}--{long}{attached(argument)}]"
        if len(lines[-1]) + len(word) > 78:
            lines.append("            ")
        lines[-1] += " " + word
    return "\n".join([*lines, "             IMAGE [-- COMMAND [ARG...]]"]) + "\n"


def attached(argument: str) -> str:
    """Return an option's argument as it follows the long name."""
    return "[=" + argument[1:] if argument.startswith("[") else argument and "=" + argument
