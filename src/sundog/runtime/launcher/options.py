"""``ch-run``'s command line, by the rules of the C library's getopt_long(3) and argp.

* Options may follow the operands, up to ``--``.
* The user may abbreviate long options.
* An optional argument must be attached to its option.
* Options act, or fail, in the order of the command line.

Values are bytes.
"""

from __future__ import annotations

from sundog import __version__
from sundog.base.kernel.libc import printable
from sundog.base.record.kept import is_container_id
from sundog.errors import SundogError
from sundog.runtime.container.bind_option import parse_bind, split_owned
from sundog.runtime.container.overlay_option import parse_overlay
from sundog.runtime.container.paths import absolute
from sundog.runtime.container.tmpfs_option import parse_tmpfs
from sundog.runtime.launcher.environment import (
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
from sundog.runtime.launcher.option_numbers import lazy_way, parse_id, parse_number
from sundog.runtime.launcher.option_scan import scan
from sundog.runtime.launcher.option_values import (
    DeviceOptions,
    EmulationOptions,
    EnvironmentOptions,
    GroupOptions,
    HostMpiOptions,
    IdentityOptions,
    ImageOptions,
    MountOptions,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from sundog.runtime.launcher.environment import EnvironmentChange
    from sundog.runtime.launcher.messages import Messages
    from sundog.runtime.launcher.option_values import Given


class Finished(Exception):
    """An option has done all that it asks for; print ``text`` and exit with ``status``."""

    def __init__(self, status: int, text: str = "", *, on_stderr: bool = False) -> None:
        super().__init__(status)
        self.status = status
        self.text = text
        self.on_stderr = on_stderr


class CommandLine:
    """The options of one ``ch-run``, by subject, and its operands: IMAGE, COMMAND and each ARG."""

    __slots__ = (
        "devices",
        "dry",
        "emulation",
        "environment",
        "group",
        "host_mpi",
        "identity",
        "image",
        "messages",
        "mounts",
        "operands",
    )

    def __init__(self, arguments: list[bytes], messages: Messages, *, permute: bool = True) -> None:
        """Read ``arguments`` from left to right.

        Raises UsageError for an option that does not exist or lacks its argument, SundogError for
        an impossible value, and Finished for --help and its like.
        """
        given: Given = {}
        changes: list[EnvironmentChange] = []
        variables = None
        self.operands: list[bytes] = []
        for name, value in scan(arguments, permute=permute):
            if name == "operand":
                self.operands.append(value)
            elif name in _ENDS:
                raise _ENDS[name](value)
            elif name in _MESSAGE_ACTIONS:
                _MESSAGE_ACTIONS[name](messages, value)
            elif name in _CHANGE_READERS:
                changes.append(_CHANGE_READERS[name](value))
            elif name in _REPEATED_READERS:
                given.setdefault(name, []).append(_REPEATED_READERS[name](value))
            elif name in _VALUE_READERS:
                given[name] = _VALUE_READERS[name](value)
            else:
                given[name] = True if value is None else value
            if name in ("device", "devices"):  # theirs are set in the order of the command line
                variables = SetVariables([], verbatim=True)
                changes.append(variables)
        self.devices = DeviceOptions(given, variables)
        self.dry = "dry-run" in given
        self.emulation = EmulationOptions(given)
        self.environment = EnvironmentOptions(given, changes)
        self.group = GroupOptions(given)
        self.host_mpi = HostMpiOptions(given)
        self.identity = IdentityOptions(given)
        self.image = ImageOptions(given)
        self.messages = messages
        self.mounts = MountOptions(given)


def _read_owned_bind(value: bytes) -> tuple[tuple[bytes, bytes, bool | None], bool]:
    """Return SRC[:DST[:MODE[,U]]] as ``parse_bind`` does, and whether it has the mode U."""
    value, is_owned = split_owned(value)
    return parse_bind(value), is_owned


def _read_arch(value: bytes) -> bytes:
    """Return the architecture; "host" is the default."""
    if not value:
        raise SundogError("--arch: no architecture", "as in --arch=arm64")
    return b"" if value == b"host" else value


def _read_container(value: bytes) -> bytes:
    """Return the ID of a container."""
    if not is_container_id(value):
        raise SundogError(f"--container: not an ID: {printable(value)}", "see: sundog ps -a")
    return value


def _read_store(value: bytes) -> bytes:
    """Return the shared store of --image-store."""
    if not value:
        raise SundogError("--image-store: DIR must have non-zero length")
    return absolute(value)


def _read_lazy(value: bytes | None) -> bytes:
    """Return how an image starts that is not here."""
    return lazy_way(b"yes" if value is None else value, "--lazy")


def _read_mount(value: bytes) -> bytes:
    """Return the host's directory of --mount."""
    if not value:
        raise SundogError("mount point can't be empty string")
    return absolute(value)


def _read_notify(value: bytes | None) -> bool:
    """Tell whether the level of --notify is strict."""
    if value not in (None, b"strict"):
        raise SundogError(f"--notify: no such level: {printable(value)}", "one of: strict")
    return value is not None


def _read_record(value: bytes) -> bytes:
    """Return the file of --record."""
    if not value:
        raise SundogError("--record: FILE must have non-zero length")
    return absolute(value)


def _read_user(value: bytes) -> bytes:
    """Return NAME[:GROUP]."""
    if not value:
        raise SundogError("--user: NAME must have non-zero length")
    return value


def _read_set_env(value: bytes | None, delimiter: bytes = b"\n") -> EnvironmentChange:
    """Return the change of --set-env[=ARG]; reads a file at once, on the host."""
    if value is None:
        return SetFromImage(delimiter)
    if b"=" in value:
        return SetVariables([parse_variable(value, printable(value))])
    return SetVariables(read_variables(value, delimiter))


def _read_unset_env(value: bytes) -> EnvironmentChange:
    """Return the change of --unset-env GLOB."""
    if not value:
        raise SundogError("--unset-env: GLOB must have non-zero length")
    if is_extended_pattern(value) and not has_extglob():
        raise SundogError(
            f"--unset-env: the C library knows no extended patterns: {printable(value)}",
            "repeat --unset-env, with one plain pattern each; see: ch-run --feature=extglob",
        )
    return UnsetMatching(value)


def _note_accepted(messages: Messages, value: bytes) -> None:
    """Say what ``value``, an option of podman, would mean."""
    messages.note(f"{printable(value)} has no effect: {ACCEPTED[value]}")


def _change_verbosity(messages: Messages, step: int, name: str, opposite: str) -> None:
    """Show less or more."""
    if messages.verbosity * step < 0:
        raise SundogError(f"--{name} incompatible with --{opposite}")
    if messages.verbosity == 3 * step:
        raise SundogError(f"--{name} can be specified at most thrice")
    messages.verbosity += step


def _print_tests(messages: Messages, value: bytes) -> NoReturn:
    """Do --test WHAT: log prints a message of each level; log-fail fails after that."""
    if value not in (b"log", b"log-fail"):
        raise SundogError(f"--test: no such test: {printable(value)}", "one of: log, log-fail")
    messages.verbose("this is a message of level verbose")
    messages.debug("this is a message of level debug")
    messages.warning("this is a message of level warning")
    if value == b"log-fail":
        raise SundogError("the program failed as it was asked to (--test=log-fail)")
    raise Finished(0)


def _print_warnings(messages: Messages, value: bytes) -> NoReturn:
    """Do --warnings NUM."""
    for number in range(1, parse_number(value, "--warnings") + 1):
        messages.warning(f"this is warning {number}!")
    messages.reprint_warnings()
    raise Finished(0)


def _tried_feature(value: bytes) -> Finished:
    """Return the end of --feature FEAT."""
    from sundog.runtime.launcher.feature import feature_status

    return Finished(feature_status(value))


# Options that end the start; --version is on standard error, as in Charliecloud.
_ENDS: dict[str, Callable[..., Finished]] = {
    "feature": _tried_feature,
    "help": lambda _: Finished(0, help_text()),
    "usage": lambda _: Finished(0, usage_text()),
    "version": lambda _: Finished(0, __version__ + "\n", on_stderr=True),
}
# Options that only print, or say how much is printed.
_MESSAGE_ACTIONS: dict[str, Callable[..., None]] = {
    "accepted": _note_accepted,
    "quiet": lambda messages, _: _change_verbosity(messages, -1, "quiet", "verbose"),
    "test": _print_tests,
    "verbose": lambda messages, _: _change_verbosity(messages, 1, "verbose", "quiet"),
    "warnings": _print_warnings,
}
# The functions that read the arguments of options: changes of the environment, ...
_CHANGE_READERS: dict[str, Callable[..., EnvironmentChange]] = {
    "env": parse_exactly,
    "set-env": _read_set_env,
    "set-env0": lambda value: _read_set_env(value, b"\0"),
    "unset-env": _read_unset_env,
}
# ... options that may come several times, ...
_REPEATED_READERS: dict[str, Callable[..., Any]] = {
    "bind": _read_owned_bind,
    "device": bytes,
    "image-store": _read_store,
    "overlay": parse_overlay,
    "tmpfs": parse_tmpfs,
}
# ... and options of which the last one counts.  Other arguments count as they are.
_VALUE_READERS: dict[str, Callable[..., Any]] = {
    "arch": _read_arch,
    "container": _read_container,
    "gid": lambda value: parse_id(value, "--gid"),
    "host-mpi": lambda value: value or b"",
    "join-ct": lambda value: parse_number(value, "--join-ct"),
    "join-pid": lambda value: parse_number(value, "--join-pid"),
    "lazy": _read_lazy,
    "mount": _read_mount,
    "notify": _read_notify,
    "record": _read_record,
    "uid": lambda value: parse_id(value, "--uid"),
    "user": _read_user,
    "write-fake": lambda value: value or b"",  # see ``ImageOptions.use_default_size``
}
