"""The command's environment: what ``ch-run`` sets by itself, and --set-env and --unset-env.

The rules are Charliecloud 0.39's: HOME, PATH and TMPDIR first, then the changes of the command line
in its order, then CH_RUNNING.  All else of the host's environment passes through.

Floor 0.  Names and values are bytes.  All of it but reading a file that the user names happens in
the container: ``/root`` and ``/ch/environment`` are the image's.
"""

import os

from sundog.container.paths import exists
from sundog.container.variables import Environment
from sundog.errors import KernelError, SundogError
from sundog.kernel.libc import libc_call, printable
from sundog.kernel.mounts import AT_FDCWD, RESOLVE_NO_MAGICLINKS, openat2
from sundog.launcher.messages import Messages

FNM_EXTMATCH = 1 << 5  # glibc's fnmatch(3); other C libraries ignore the bit

# What an image says about its environment; written by ch-image.
IMAGE_ENVIRONMENT = b"/ch/environment"

VARIABLE_HINT = "a variable is NAME=VALUE, one to a line"

HOME_DEFAULT = b"/root"
CH_RUNNING = b"Weird Al Yankovic"  # $CH_RUNNING


class SetVariables:
    """--set-env with an argument: the variables given, or those of a file of the host."""

    __slots__ = ("variables",)

    def __init__(self, variables: list[tuple[bytes, bytes]]) -> None:
        self.variables = variables


class SetFromImage:
    """--set-env without an argument: the variables of the image's ``/ch/environment``."""

    __slots__ = ("delimiter",)

    def __init__(self, delimiter: bytes) -> None:
        self.delimiter = delimiter


class UnsetMatching:
    """--unset-env: drop the variables whose names match a fnmatch(3) pattern."""

    __slots__ = ("pattern",)

    def __init__(self, pattern: bytes) -> None:
        self.pattern = pattern


EnvironmentChange = SetVariables | SetFromImage | UnsetMatching


def command_environment(
    environment: Environment,
    changes: list[EnvironmentChange],
    messages: Messages,
    home: bytes = b"",
    *,
    expand: bool = True,
) -> None:
    """Make the command's ``environment`` of the host's, whose order it keeps.

    ``home`` is that of the command's user, if it is known.  Called in the container.  Raises
    SundogError when ``/ch/environment`` is wanted and cannot be read.
    """
    environment.set(b"HOME", home or (HOME_DEFAULT if exists(HOME_DEFAULT) else b"/"))
    path = environment.get(b"PATH")
    if path is None:
        messages.warning("$PATH not set")
    elif not path.startswith(b"/bin") and b":/bin" not in path:
        # A merged-/usr host may leave /bin out, where the image keeps its programs.
        path += b":/bin"
        environment.set(b"PATH", path)
        messages.verbose(f"new $PATH: {printable(path)}")
    environment.unset(b"TMPDIR")  # it was a path of the host
    for change in changes:
        if isinstance(change, UnsetMatching):
            for name in [name for name in environment.names() if matches(change.pattern, name)]:
                environment.unset(name)
                messages.verbose(f"environment: unset {printable(name)}")
            continue
        if isinstance(change, SetFromImage):
            variables = read_image_variables(change.delimiter)
        else:
            variables = change.variables
        for name, text in variables:
            value = expanded(text, environment) if expand else text
            environment.set(name, value)
            messages.verbose(f"environment: {printable(name)}={printable(value)}")
    environment.set(b"CH_RUNNING", CH_RUNNING)


def read_variables(path: bytes, delimiter: bytes) -> list[tuple[bytes, bytes]]:
    """Return the variables in the file ``path``, one to a record that ``delimiter`` ends."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise unreadable(path, error) from None
    return split_variables(data, path, delimiter)


def read_image_variables(delimiter: bytes) -> list[tuple[bytes, bytes]]:
    """Return the variables in the image's file.

    A link of /proc/PID/fd, which could lead to a file of the host, is not followed.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
    try:
        fd = openat2(AT_FDCWD, IMAGE_ENVIRONMENT, flags, RESOLVE_NO_MAGICLINKS)
        with open(fd, "rb") as file:
            data = file.read()
    except (KernelError, OSError) as error:
        raise unreadable(IMAGE_ENVIRONMENT, error) from None
    return split_variables(data, IMAGE_ENVIRONMENT, delimiter)


def unreadable(path: bytes, error: KernelError | OSError) -> SundogError:
    """Return the error that a file of variables cannot be read."""
    return SundogError(
        f"can't open: {printable(path)}: {os.strerror(error.errno or 0)}",
        "--set-env takes NAME=VALUE, a file of such lines, or nothing, for those of the image",
    )


def split_variables(data: bytes, path: bytes, delimiter: bytes) -> list[tuple[bytes, bytes]]:
    """Return the variables in ``data``, which is what the file ``path`` holds.

    A newline at the end of a record is dropped even where NUL is the delimiter; empty records are
    skipped.  There are neither comments nor escapes.
    """
    variables = []
    for number, record in enumerate(data.split(delimiter), 1):
        text = record.removesuffix(b"\n")
        if text:
            variables.append(parse_variable(text, f"{printable(path)}:{number}"))
    return variables


def parse_variable(text: bytes, place: str) -> tuple[bytes, bytes]:
    """Split ``NAME=VALUE``, and take one pair of single quotes off the value.

    ``place`` tells the user where the text stands.
    """
    name, equals, value = text.partition(b"=")
    if not equals:
        raise SundogError(f"can't parse variable: no delimiter: {place}", VARIABLE_HINT)
    if not name:
        raise SundogError(f"can't parse variable: empty name: {place}", VARIABLE_HINT)
    if b"\0" in text:
        raise SundogError(f"can't parse variable: NUL byte: {place}", VARIABLE_HINT)
    if len(value) >= 2 and value.startswith(b"'") and value.endswith(b"'"):
        value = value[1:-1]
    return name, value


def expanded(value: bytes, environment: Environment) -> bytes:
    """Replace each item ``$NAME`` of a colon-separated ``value`` by that variable's value.

    An item whose variable is unset or empty goes, with one colon.  Only whole items are variables:
    ``a$NAME`` and ``$`` stay, and what comes out is not looked at again.
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
    """Tell whether ``name`` matches a shell ``pattern``: fnmatch(3), extended where it can."""
    return libc_call("fnmatch", pattern, name, FNM_EXTMATCH) == 0
