"""``sundog apptainer``: the command line of Apptainer.

``exec``, ``run``, ``shell`` and ``test`` become ``ch-run``, in this interpreter.  The exit status
is the command's; 255 if Sundog fails; 1 if the line is wrong.
"""

from __future__ import annotations

import os

from sundog import __version__
from sundog.errors import SundogError, UsageError
from sundog.front.apptainer.action_options import TABLES
from sundog.front.apptainer.command import NothingToRun
from sundog.front.apptainer.image import INSTANCE
from sundog.front.apptainer.line import scan_action, split_globals
from sundog.front.apptainer.messages import FATAL, INFO, WARNING, Messages
from sundog.front.apptainer.plan import plan_of
from sundog.front.apptainer.site import SITE_VARIABLE
from sundog.front.cli.apptainer_facts import EXIT_FAILED, image_of
from sundog.front.cli.apptainer_host import host_of
from sundog.front.cli.hidden_values import hide_values
from sundog.front.cli.sundog_start import go_on_as_ch_run, with_storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.apptainer.plan import Plan
    from sundog.front.cli.sundog_context import Context
    from sundog.front.options import Line

# Callers compare it with versions of Apptainer.
VERSION = f"1.4.5-sundog{__version__}"
EXIT_WRONG = 1
# Subcommands that start no container: the module in front/cli, and the function.
SUBCOMMANDS = {
    "build": ("apptainer_files", "build"),
    "cache": ("apptainer_cache", "cache"),
    "inspect": ("apptainer_inspect", "inspect"),
    "instance": ("apptainer_instance", "instance"),
    "overlay": ("apptainer_overlay", "overlay"),
    "pull": ("apptainer_files", "pull"),
    "run-help": ("apptainer_inspect", "run_help"),
    "sif": ("apptainer_sif", "sif"),
}


def apptainer(words: Sequence[str], context: Context) -> int:
    """Run a line of Apptainer; return an exit status unless this process becomes a command."""
    messages = Messages()
    try:
        line, rest = split_globals(words, os.environ)
        messages = Messages.of(line)
        messages.say_all(WARNING, line.warnings)
        if config := line.last("config"):
            os.environ[SITE_VARIABLE] = config
        return _subcommand(line, rest, context, messages)
    except (SundogError, OSError) as error:
        from sundog.base.kernel.advice import explained  # a run seldom fails

        shown = explained(error)
        messages.say(FATAL, shown.message)
        if shown.hint:
            messages.say(INFO, f"hint: {shown.hint}")
        return EXIT_WRONG if isinstance(error, UsageError) else EXIT_FAILED


def _subcommand(line: Line, words: list[str], context: Context, messages: Messages) -> int:
    """Run the subcommand that ``words`` begin with; return the exit status."""
    if line.is_set("version"):
        return _print(f"apptainer version {VERSION}")
    if line.is_set("help") or not words:
        return _help("", 0 if words or line.is_set("help") else EXIT_WRONG)
    name, *rest = words
    if name in TABLES:
        return _act(name, rest, context, messages)
    if name == "version":
        return _print(VERSION)
    if name == "help":
        return _help(" ".join(rest), 0)
    if name == "links":
        return _links(rest)
    if name in SUBCOMMANDS:
        module, function = SUBCOMMANDS[name]
        found = __import__(f"sundog.front.cli.{module}", fromlist=[function])
        return int(getattr(found, function)(rest, context, messages))
    from sundog.front.apptainer.refused import REFUSED

    if name in REFUSED:
        why, hint = REFUSED[name]
        raise SundogError(f"sundog apptainer has no {name}: {why}", hint)
    from sundog.front.options import unknown

    names = [*TABLES, *SUBCOMMANDS, "help", "version", "links", *REFUSED]
    raise unknown(name, names, "apptainer")


def _act(action: str, words: list[str], context: Context, messages: Messages) -> int:
    """Become the command of ``exec``, ``run``, ``shell`` or ``test``."""
    line = scan_action(action, words, dict(os.environ))  # os.environ decodes a variable each time
    if line.is_set("help"):
        return _help(action, 0)
    if not line.operands:
        raise UsageError(f"{action}: no image", f"apptainer {action} IMAGE")
    if line.operands[0].startswith(INSTANCE):
        from sundog.front.cli.apptainer_member import join

        return join(action, line, context, messages)
    image = image_of(line, context, messages)
    if isinstance(image, int):
        return image
    try:
        plan = plan_of(action, line, image, host_of(line, dict(os.environ)))
    except NothingToRun as nothing:
        messages.say(INFO, str(nothing))
        return 0
    messages.say_all(INFO, plan.notes)
    messages.say_all(WARNING, plan.warnings)
    hide_values(line)
    _prepare(plan, messages)
    environment = plan.environment | {"SUNDOG_STATUSES": f"apptainer:{messages.level}"}
    words = plan.arguments
    if plan.seconds:
        from sundog.front.cli.apptainer_limit import with_limit  # few starts need it

        words = with_limit(words, plan.seconds)
    return go_on_as_ch_run([*messages.told, *with_storage(words, context)], environment)


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
