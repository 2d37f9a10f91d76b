"""The command's environment: the variables that ``ch-run`` sets, and --set-env and --unset-env.

The rules are those of Charliecloud 0.39, but for the directories of programs for root, which $PATH
gets, too.  First ``ch-run`` changes HOME, PATH and TMPDIR.  Then it obeys --set-env and --unset-env
in the order of the command line.  Last it sets CH_RUNNING.  All other variables of the host stay as
they are.

Names and values are bytes.  ``read_variables`` reads a file of the host.  All other
functions work in the container, because ``/root`` and ``/ch/environment`` belong to the image.
"""

from __future__ import annotations

import os

from sundog.base.kernel.libc import libc_call, printable
from sundog.base.kernel.mounts import AT_FDCWD, RESOLVE_NO_MAGICLINKS, openat2
from sundog.errors import KernelError, SundogError
from sundog.runtime.container.paths import exists
from sundog.runtime.container.variables import CH_RUNNING, Environment
from sundog.runtime.launcher.mpi import LAUNCHER_PREFIXES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.runtime.launcher.messages import Messages

_ALL_VARIABLES = b"*"  # the pattern that leaves what a rank of MPI needs
_FNM_EXTMATCH = 1 << 5  # glibc's fnmatch(3); other C libraries ignore the bit

# The variables of an image.  ch-image writes this file.
IMAGE_ENVIRONMENT = b"/ch/environment"

_VARIABLE_HINT = "write NAME=VALUE, one variable on each line"

HOME_DEFAULT = b"/root"
# Directories that are appended to $PATH if it lacks them: the image may keep programs there, and
# the $PATH of an ordinary user, or of a host with a merged /usr, may lack them.
APPENDED_PATHS = (b":/bin", b":/usr/local/sbin", b":/usr/sbin", b":/sbin")


class SetVariables:
    """--set-env with an argument: a variable, or the variables in a file of the host.

    With ``verbatim``, all values stay as they are.
    """

    __slots__ = ("variables", "verbatim")

    def __init__(self, variables: list[tuple[bytes, bytes]], *, verbatim: bool = False) -> None:
        self.variables = variables
        self.verbatim = verbatim


class SetFromImage:
    """--set-env without an argument: the variables of the image's ``/ch/environment``.

    --host-mpi has another ``path`` in the container.  ``absent`` is the error for a container in
    which the file is not there, a message and a hint.
    """

    __slots__ = ("absent", "delimiter", "path")

    def __init__(
        self,
        delimiter: bytes,
        path: bytes = IMAGE_ENVIRONMENT,
        absent: tuple[str, str] | None = None,
    ) -> None:
        self.delimiter = delimiter
        self.path = path
        self.absent = absent


class _SetExactly:
    """--env: a variable whose value is not expanded.

    If ``value`` is None, the variable becomes what it was on the host, or unset.
    """

    __slots__ = ("name", "value")

    def __init__(self, name: bytes, value: bytes | None) -> None:
        self.name = name
        self.value = value


class UnsetMatching:
    """--unset-env: drop the variables whose names match a fnmatch(3) pattern."""

    __slots__ = ("pattern",)

    def __init__(self, pattern: bytes) -> None:
        self.pattern = pattern


EnvironmentChange = SetVariables | SetFromImage | _SetExactly | UnsetMatching


def command_environment(
    environment: Environment,
    changes: list[EnvironmentChange],
    messages: Messages,
    *,
    own: Mapping[bytes, bytes] | None = None,
    expand: bool = True,
    mpi_env: bool = True,
) -> None:
    """Turn ``environment``, the host's, into the command's; keep its order.

    ``own`` are variables of the container itself.  Values are expanded unless ``expand`` is false.
    --unset-env='*' leaves what a rank of MPI needs, if ``mpi_env``.  Call it in the container.
    Raises SundogError if a change needs ``/ch/environment`` and that file cannot be read.
    """
    kept = LAUNCHER_PREFIXES if mpi_env else ()
    hosts = {
        change.name: environment.get(change.name)
        for change in changes
        if isinstance(change, _SetExactly)
    }
    own = own or {}
    if b"HOME" not in own:
        environment.set(b"HOME", HOME_DEFAULT if exists(HOME_DEFAULT) else b"/")
    path = environment.get(b"PATH")
    if path is None:
        messages.warning("$PATH not set")
    else:
        longer = b":" + path
        for wanted in APPENDED_PATHS:
            if wanted not in longer:
                longer += wanted
        if len(longer) > len(path) + 1:
            environment.set(b"PATH", longer[1:])
            messages.verbose(f"new $PATH: {printable(longer[1:])}")
    environment.unset(b"TMPDIR")  # it is a path of the host
    for name, value in own.items():
        environment.set(name, value)
    for change in changes:
        if isinstance(change, UnsetMatching):
            for name in environment.names():
                if change.pattern == _ALL_VARIABLES and name.startswith(kept):
                    continue
                if change.pattern == _ALL_VARIABLES or matches(change.pattern, name):
                    _set_or_unset(environment, name, None, messages)
            continue
        if isinstance(change, _SetExactly):
            found = hosts[change.name] if change.value is None else change.value
            _set_or_unset(environment, change.name, found, messages)
            continue
        is_expanded = expand
        if isinstance(change, SetFromImage):
            variables = _read_image_variables(change)
        else:
            variables = change.variables
            is_expanded = expand and not change.verbatim
        for name, text in variables:
            value = expanded(text, environment) if is_expanded else text
            _set_or_unset(environment, name, value, messages)
    environment.set(b"CH_RUNNING", CH_RUNNING)


def _set_or_unset(
    environment: Environment, name: bytes, value: bytes | None, messages: Messages
) -> None:
    """Set the variable ``name``, or unset it if ``value`` is None; tell it at -v."""
    if value is None:
        environment.unset(name)
    else:
        environment.set(name, value)
    if messages.verbosity >= 1:  # a start may set a hundred
        shown = printable(name)
        change = f"unset {shown}" if value is None else f"{shown}={printable(value)}"
        messages.verbose(f"environment: {change}")


def read_variables(path: bytes, delimiter: bytes) -> list[tuple[bytes, bytes]]:
    """Return the variables in the file ``path``; ``delimiter`` ends each."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise _unreadable(path, error) from None
    return _split_variables(data, path, delimiter)


def _read_image_variables(change: SetFromImage) -> list[tuple[bytes, bytes]]:
    """Return the variables in a file of the image.

    A link of /proc/PID/fd, which could lead to a file of the host, is not followed.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
    try:
        fd = openat2(AT_FDCWD, change.path, flags, RESOLVE_NO_MAGICLINKS)
        with open(fd, "rb") as file:
            data = file.read()
    except (KernelError, OSError) as error:
        if change.absent is not None:
            raise SundogError(*change.absent) from None
        raise _unreadable(change.path, error) from None
    return _split_variables(data, change.path, change.delimiter)


def _unreadable(path: bytes, error: KernelError | OSError) -> SundogError:
    """Return the error for a file of variables that cannot be read."""
    return SundogError(
        f"can't open: {printable(path)}: {os.strerror(error.errno or 0)}",
        "--set-env=ARG takes NAME=VALUE or a file; --set-env alone takes the image's variables",
    )


def _split_variables(data: bytes, path: bytes, delimiter: bytes) -> list[tuple[bytes, bytes]]:
    """Return the variables in ``data``, the content of the file ``path``.

    The function drops a newline at the end of a record, even if NUL is the delimiter.  It skips
    empty records.  The format has neither comments nor escapes.
    """
    variables = []
    for number, record in enumerate(data.split(delimiter), 1):
        text = record.removesuffix(b"\n")
        if text:
            variables.append(parse_variable(text, f"{printable(path)}:{number}"))
    return variables


def parse_variable(text: bytes, place: str) -> tuple[bytes, bytes]:
    """Split ``NAME=VALUE``, and remove one pair of single quotes around the value.

    ``place`` tells the user where the text stands.  Raises SundogError.
    """
    name, equals, value = text.partition(b"=")
    if not equals:
        raise SundogError(f"can't parse variable: no delimiter: {place}", _VARIABLE_HINT)
    if not name:
        raise SundogError(f"can't parse variable: empty name: {place}", _VARIABLE_HINT)
    if b"\0" in text:
        raise SundogError(f"can't parse variable: NUL byte: {place}", _VARIABLE_HINT)
    if len(value) >= 2 and value.startswith(b"'") and value.endswith(b"'"):
        value = value[1:-1]
    return name, value


def parse_exactly(text: bytes) -> _SetExactly:
    """Return what --env ``text`` does.  Raises SundogError if it has no name."""
    name, equals, value = text.partition(b"=")
    if not name:
        raise SundogError(f"--env: empty name: {printable(text)}", "write NAME=VALUE or NAME")
    return _SetExactly(name, value if equals else None)


def expanded(value: bytes, environment: Environment) -> bytes:
    """Replace each item ``$NAME`` of a colon-separated ``value`` by that variable's value.

    If the variable is unset or empty, the function removes the item and one colon.  Only a whole
    item can be a variable: ``a$NAME`` and ``$`` stay.  The function does not expand the result
    again.
    """
    items = []
    for item in value.split(b":"):
        if item.startswith(b"$") and len(item) > 1:
            found = environment.get(item[1:])
            if found:
                items.append(found)
        else:
            items.append(item)
    return b":".join(items)


def matches(pattern: bytes, name: bytes) -> bool:
    """Tell whether ``name`` matches ``pattern``: fnmatch(3), with FNM_EXTMATCH."""
    return libc_call("fnmatch", pattern, name, _FNM_EXTMATCH) == 0


def is_extended_pattern(pattern: bytes) -> bool:
    """Tell whether ``pattern`` has a form that only FNM_EXTMATCH gives a meaning: ``@(a|b)``."""
    return any(b"%c(" % sign in pattern for sign in b"?*+@!")


def has_extglob() -> bool:
    """Tell whether --unset-env takes extended patterns.  The C library decides that."""
    return matches(b"@(a|b)", b"a")
