"""``sundog apptainer``: the command line of Apptainer.

``exec``, ``run``, ``shell`` and ``test`` become ``ch-run``, in this interpreter.  The exit status
is the command's; 255 if Sundog fails; 1 if the line is wrong.
"""

from __future__ import annotations

import os
import sys

from sundog import __version__
from sundog.errors import NotInStorage, SundogError, UsageError
from sundog.front.apptainer.action_options import TABLES
from sundog.front.apptainer.command import NothingToRun
from sundog.front.apptainer.host import Host
from sundog.front.apptainer.image import STORED, facts_of_name, facts_of_path, stored_name
from sundog.front.apptainer.line import scan_action, split_globals
from sundog.front.apptainer.messages import DEBUG, ERROR, FATAL, INFO, VERBOSE, WARNING, Messages
from sundog.front.apptainer.plan import plan_of
from sundog.front.apptainer.site import SITE_VARIABLE, read_site
from sundog.front.cli.sundog_context import image_line
from sundog.front.cli.sundog_start import execute, go_on_as_ch_run, hide_values, with_storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.apptainer.image import ImageFacts
    from sundog.front.apptainer.plan import Plan
    from sundog.front.cli.sundog_context import Context
    from sundog.front.options import Line

# Callers compare it with versions of Apptainer.
VERSION = f"1.4.5-sundog{__version__}"
EXIT_FAILED, EXIT_USAGE = 255, 1
_LEVELS = (("debug", DEBUG), ("verbose", VERBOSE), ("silent", ERROR), ("quiet", WARNING))
_FILE_LIMIT = 1 << 20


def apptainer(words: Sequence[str], context: Context) -> int:
    """Run a line of Apptainer; return an exit status unless this process becomes a command."""
    messages = Messages()
    try:
        line, rest = split_globals(words)
        messages = Messages(next((level for name, level in _LEVELS if line.is_set(name)), INFO))
        _warn(line, messages)
        return _subcommand(line, rest, context, messages)
    except (SundogError, OSError) as error:
        from sundog.base.kernel.advice import explained  # a run seldom fails

        shown = explained(error)
        messages.say(FATAL, shown.message)
        if shown.hint:
            messages.say(INFO, f"hint: {shown.hint}")
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED


def _subcommand(line: Line, words: list[str], context: Context, messages: Messages) -> int:
    """Run the subcommand that ``words`` begin with; return the exit status."""
    if line.is_set("version"):
        return _print(f"apptainer version {VERSION}")
    if line.is_set("help") or not words:
        return _help("", 0 if words or line.is_set("help") else EXIT_USAGE)
    name, *rest = words
    if name in TABLES:
        return _act(name, rest, context, messages)
    if name == "version":
        return _print(VERSION)
    if name == "help":
        return _help(" ".join(rest), 0)
    if name == "links":
        return _links(rest)
    from sundog.front.apptainer.refused import REFUSED

    if name in REFUSED:
        why, hint = REFUSED[name]
        raise SundogError(f"sundog apptainer has no {name}: {why}", hint)
    from sundog.front.options import unknown

    raise unknown(name, [*TABLES, "help", "version", "links", *REFUSED], "apptainer")


def _act(action: str, words: list[str], context: Context, messages: Messages) -> int:
    """Become the command of ``exec``, ``run``, ``shell`` or ``test``."""
    line = scan_action(action, words, os.environ)
    if line.is_set("help"):
        return _help(action, 0)
    if not line.operands:
        raise UsageError(f"{action}: no image", f"apptainer {action} IMAGE")
    image = _image(line.operands[0], context, messages)
    if isinstance(image, int):
        return image
    try:
        plan = plan_of(action, line, image, _host(line))
    except NothingToRun as nothing:
        messages.say(INFO, str(nothing))
        return 0
    for text in plan.notes:
        messages.say(INFO, text)
    for text in plan.warnings:
        messages.say(WARNING, text)
    hide_values(line)
    _prepare(plan, messages)
    environment = plan.environment | {"SUNDOG_STATUSES": f"apptainer:{messages.level}"}
    told = ["--verbose"] * (messages.level - INFO)
    return go_on_as_ch_run([*told, *with_storage(plan.arguments, context)], environment)


def _image(image: str, context: Context, messages: Messages) -> ImageFacts | int:
    """Return the facts of IMAGE; pull it if need be.  Returns the status of a pull that fails."""
    name = stored_name(image)
    if name is None:
        return facts_of_path(image)
    found = facts_of_name(name, context.storage)
    if found is not None:
        return found
    status = _pull(name, context, messages)
    if status:
        return status if status < 0 else EXIT_FAILED
    # A pull may leave threads, with which this process can't enter namespaces.
    from sundog.base.installation import own_command

    return execute([*own_command("sundog"), *sys.argv[1:]], dict(os.environ))


def _pull(name: str, context: Context, messages: Messages) -> int:
    """Pull an image, unless another process does so meanwhile; return the exit status."""
    from hashlib import sha256

    from sundog.image.store.store import Store

    turn = f"apptainer-{sha256(os.fsencode(name)).hexdigest()[:32]}"
    with (
        Store.open(context.storage) as store,
        store.turn(turn).held(lambda: messages.say(VERBOSE, f"Waiting for a pull of {name}")),
    ):
        if facts_of_name(name, context.storage) is not None:
            return 0
        messages.say(INFO, f"Pulling {STORED}{name} into storage")
        quiet = ["--quiet"] if messages.level < INFO else []
        status = image_line(["pull", *quiet, "--", name], context)
    if status > 0:
        messages.say(FATAL, f"can't pull {name}")
    elif facts_of_name(name, context.storage) is None:
        raise NotInStorage(f"no image in storage: {name}", f"ch-image pull {name}")
    return status


def _host(line: Line) -> Host:
    """Return the facts of this process and machine."""
    home = os.environ.get("HOME", "")
    if not home.startswith("/") or not home.strip("/"):
        from pwd import getpwuid

        try:
            home = getpwuid(os.geteuid()).pw_dir
        except KeyError:
            home = "/"
    directories = line.all("cdi-dirs")
    return Host(
        os.environ,
        os.getcwd(),
        os.path.normpath(home),
        exists=os.path.lexists,
        has_devices=lambda kind: _has_devices(kind, directories),
        read_file=_read_file,
        site=read_site(os.environ.get(SITE_VARIABLE) or None),
    )


def _has_devices(kind: str, directories: Sequence[str]) -> bool:
    """Tell whether a CDI specification of this machine has devices of a kind."""
    from sundog.runtime.cdi.directories import cdi_directories
    from sundog.runtime.cdi.registry import device_names

    option = os.fsencode(":".join(directories).replace(",", ":")) if directories else None
    places = cdi_directories(option, os.environb.get)
    return any(name.startswith(f"{kind}=") for name in device_names(places, lambda _: None))


def _read_file(path: str) -> str:
    """Return the text of an --env-file.  Raises SundogError."""
    try:
        with open(path, "rb") as file:
            data = file.read(_FILE_LIMIT + 1)
    except OSError as error:
        raise SundogError(f"--env-file {path}: {error.strerror}", "it must be a file") from error
    if len(data) > _FILE_LIMIT:
        raise SundogError(f"--env-file {path}: larger than {_FILE_LIMIT} bytes", "is it that file?")
    return os.fsdecode(data)


def _prepare(plan: Plan, messages: Messages) -> None:
    """Make directories, and give this process what the command is to inherit."""
    for path in plan.directories:
        os.makedirs(path, mode=0o700, exist_ok=True)
    if plan.umask is not None:
        os.umask(plan.umask)
    if plan.namespaces:
        from sundog.front.cli.apptainer_namespaces import enter

        for text in enter(plan.namespaces, plan.hostname, has_init=plan.has_init):
            messages.say(WARNING, text)


def _links(words: Sequence[str]) -> int:
    """Write the entries to a directory."""
    if len(words) != 1 or words[0].startswith("-"):
        raise UsageError("links: it takes one directory", "sundog apptainer links DIR")
    from sundog.base.installation import installed
    from sundog.front.apptainer.links import write_entries

    program = installed("sundog")
    if program is None:
        raise SundogError("links: sundog is not installed", "install the package first")
    return _print(*write_entries(words[0], os.path.abspath(program)))


def _help(action: str, status: int) -> int:
    """Print the help of an action, or of all; return ``status``, unless that fails."""
    from sundog.front.cli.sundog_help import print_help

    return print_help(f"apptainer {action}".strip()) or status


def _print(*lines: str) -> int:
    from sundog.front.cli.output import print_line
    from sundog.front.cli.sundog_context import run_safely

    def action() -> int:
        for line in lines:
            print_line(line)
        return 0

    return run_safely(action)


def _warn(line: Line, messages: Messages) -> None:
    for text in line.warnings:
        messages.say(WARNING, text)
