"""A line of ``sundog run`` or ``sundog exec`` as a line of ``ch-run``.

Specification: podman-run(1), podman-exec(1); the Dockerfile reference for ENTRYPOINT and CMD.
"""

from __future__ import annotations

import posixpath

from sundog.errors import UsageError
from sundog.front.ch_run_line import ChRunLine
from sundog.front.podman.devices import device_options
from sundog.front.podman.statuses import JOIN_RUNNING
from sundog.front.podman.users import NOTIFY, Who, who
from sundog.front.podman.variables import chosen, passed_environment, read_environment_file
from sundog.front.podman.volumes import mount_value, tmpfs, volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from sundog.front.options import Line
    from sundog.front.podman.volumes import Tmpfs, Volume
    from sundog.front.stored import ImageDefaults

_SCHEME = "docker://"
_ID_DIGITS = frozenset("0123456789abcdef")


class Caller:
    """The user who runs ``sundog``, and the environment.

    configured  names of variables in it that the configuration of ``ch-run`` names
    """

    __slots__ = ("configured", "environment", "gid", "uid")

    def __init__(
        self,
        environment: Mapping[str, str],
        uid: int,
        gid: int,
        configured: Collection[str] = (),
    ) -> None:
        self.configured = configured
        self.environment = environment
        self.uid = uid
        self.gid = gid


class NamedGroup:
    """The processes of a container with a name.

    tag   the group of ``ch-run --join``
    user  the user of its first command
    """

    __slots__ = ("tag", "user")

    def __init__(self, tag: str, user: Who) -> None:
        self.tag = tag
        self.user = user


def image_operand(word: str) -> str:
    """Return IMAGE as ``ch-run`` takes it."""
    return word.removeprefix(_SCHEME)


def is_path(image: str) -> bool:
    """Tell whether IMAGE is a path, or a layout, and no name."""
    return image.startswith(("/", "./", "../", "oci:", "oci-archive:", "docker-archive:"))


def is_id(text: str) -> bool:
    """Tell whether ``text`` may be the ID of an image, or its beginning: 4 digits or more."""
    digits = text.removeprefix("sha256:")
    return 4 <= len(digits) <= 64 and _ID_DIGITS.issuperset(digits)


def wanted_platform(line: Line) -> str:
    """Return the platform of the image that the user wants, "" if he does not say it."""
    return line.last("platform") or line.last("arch") or ""


def run_line(
    line: Line,
    facts: ImageDefaults,
    caller: Caller,
    *,
    user: Who,
    tag: str | None = None,
    kept: str = "",
    read_file: Callable[[str], str] = read_environment_file,
) -> ChRunLine:
    """Return the line of ``ch-run`` for a line of ``sundog run``.

    The scanned ``line`` has an IMAGE.  ``user`` is what ``command_user`` returned.  ``tag`` names
    the group of a container that has a name.  ``kept`` is the ID of a container that keeps its
    changes.  Raises UsageError, and what ``read_file`` raises.
    """
    image, *words = line.operands
    image = image_operand(image)
    platform = wanted_platform(line)
    command = _command(line, facts, words)
    if not command and not is_path(image):
        raise UsageError(
            f"no command: {image} has neither ENTRYPOINT nor CMD", f"sundog run {image} COMMAND"
        )
    arguments = [*user.options, "--private-tmp"]
    read_only = line.is_set("read-only")
    if not read_only:
        arguments.append(f"--container={kept}" if kept else "--write-fake")
    if line.is_set("no-site-binds"):
        arguments.append("--no-site-binds")
    mounts = line_mounts(line)
    if read_only and None in mounts:
        raise UsageError(
            "a volume without a directory of the host: not possible with --read-only",
            "bind a directory, or write --tmpfs DIR",
        )
    shown = [found for found in mounts if found is not None]
    arguments += [found.word() for found in shown]
    workdir = _workdir(line) or facts.workdir
    if workdir:
        arguments.append(f"--cd={workdir}")
    home = None if user.emulated else _home(caller, [found.target for found in shown])
    passed = passed_environment(
        line,
        caller.environment,
        read_file,
        home=home,
        image=not is_path(image),
        configured=caller.configured,
    )
    arguments += passed.options
    arguments += device_options(line, chosen(line, caller.environment, read_file))
    if tag is not None:
        arguments.append(f"--join-tag={tag}")
    if platform and not kept and not facts.is_shared:  # else it is known already
        arguments.append(f"--arch={platform}")
    arguments += [image, *(["--", *command] if command else [])]
    return ChRunLine(arguments, passed.environment)


def line_mounts(line: Line) -> list[Volume | Tmpfs | None]:
    """Return the volumes of a line, its mounts, and its directories in memory.

    Raises UsageError.
    """
    return [
        *(volume(text) for text in line.all("volume")),
        *(mount_value(text) for text in line.all("mount")),
        *(tmpfs(text) for text in line.all("tmpfs")),
    ]


def command_user(line: Line, facts: ImageDefaults, caller: Caller) -> Who:
    """Return the user of the command of a line of ``sundog run``.  Raises UsageError."""
    return who(line, facts.user, caller.uid, caller.gid)


def exec_line(
    line: Line,
    image: str,
    workdir: str,
    *,
    group: NamedGroup,
    caller: Caller,
    read_file: Callable[[str], str] = read_environment_file,
) -> ChRunLine:
    """Return the line of ``ch-run`` for a line of ``sundog exec``.

    The ``group`` must exist: no record can make ``ch-run`` begin one.  ``image`` is what the group
    runs, or ``ch-run`` refuses; it is not opened.  ``workdir`` is a directory of the container.
    Raises UsageError, and what ``read_file`` raises.
    """
    _, *command = line.operands
    if not command:
        raise UsageError("no command", "sundog exec CONTAINER COMMAND")
    user = group.user
    given = line.last("user")
    if given is not None:
        if not user.emulated:
            raise UsageError(
                f"--user {given}: the container runs without emulation of users",
                "start it without --userns keep-id",
            )
        user = Who(NOTIFY, who(line, "", caller.uid, caller.gid).words)
    arguments = [*user.options, f"--join-tag={group.tag}"]
    directory = _workdir(line) or workdir
    if directory:
        arguments.append(f"--cd={directory}")
    home = None if user.emulated else "/"
    passed = passed_environment(
        line,
        caller.environment,
        read_file,
        home=home,
        image=not is_path(image),
        configured=caller.configured,
    )
    arguments += passed.options
    environment = passed.environment | JOIN_RUNNING
    return ChRunLine([*arguments, image, "--", *command], environment)


def _command(line: Line, facts: ImageDefaults, words: Sequence[str]) -> list[str]:
    """Return the argv: the entrypoint, then the user's words, else CMD.

    An --entrypoint of the user has no CMD of the image after it.
    """
    given = line.last("entrypoint")
    if given is None:
        return [*facts.entrypoint, *(words or facts.command)]
    return [*entrypoint_words(given), *words]


def entrypoint_words(text: str) -> list[str]:
    """Return --entrypoint as words: a JSON array of them, or one word, or none."""
    if text.startswith("["):
        import json

        try:
            words = json.loads(text)
        except (ValueError, RecursionError):
            words = None
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return [word for word in words if isinstance(word, str)]
    return [text] if text else []


def _workdir(line: Line) -> str:
    text = line.last("workdir")
    if text is None:
        return ""
    if not text.startswith("/"):
        raise UsageError(f"--workdir {text}: not an absolute path", "give one of the container")
    return posixpath.normpath(text)


def _home(caller: Caller, targets: Sequence[str]) -> str:
    """Return HOME of a caller who runs as himself: his own if it is in the container, else /."""
    home = caller.environment.get("HOME", "")
    inside = any(home == target or home.startswith(f"{target}/") for target in targets)
    return home if home.startswith("/") and inside else "/"
