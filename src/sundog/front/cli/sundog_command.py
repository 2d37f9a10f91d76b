"""From a command line of ``sundog`` to an exit status: 0; 125, it failed; else the command's own.

Lines about images are translated to lines of ``ch-image``, whose functions do the work.
"""

from __future__ import annotations

from sundog.errors import SundogError, UsageError
from sundog.front.cli.sundog_context import EXIT_SUNDOG, ON_STDERR, Context, image_line, new_report
from sundog.front.cli.sundog_scan import scanned, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


# podman has real owners.
_BUILD_DEFAULT = "--emulation-default=auto"

# The words before a subcommand: those that podman and docker have as well change nothing.
_GROUPS = {
    "image": {
        "build": "build", "pull": "pull", "push": "push", "ls": "images", "list": "images",
        "rm": "rmi", "tag": "tag", "history": "history", "inspect": "image inspect", "save": "save",
        "load": "load", "import": "import", "prune": "image prune", "exists": "image exists",
    },
    "container": {
        "run": "run", "exec": "exec", "ls": "ps", "list": "ps", "ps": "ps", "stop": "stop",
        "kill": "kill", "rm": "rm", "logs": "logs", "create": "create", "start": "start",
        "restart": "restart", "commit": "commit", "diff": "diff", "cp": "cp", "top": "top",
        "wait": "wait", "inspect": "container inspect", "prune": "container prune",
        "exists": "container exists",
    },
    "builder": {"build": "build", "prune": "builder prune"},
    "buildx": {"build": "build", "prune": "builder prune", "du": "system df",
               "imagetools": "imagetools",
               "bake": "bake"},
    "imagetools": {"inspect": "imagetools inspect"},
    "manifest": {word: f"manifest {word}"
                 for word in ("create", "add", "annotate", "rm", "push", "inspect")},
    "system": {"df": "system df", "prune": "system prune", "info": "info"},
    "kernel": {"install": "kernel install"},
}  # fmt: skip
_ALIASES = {"list": "ps", "--version": "version", "-v": "version", "--help": "help", "-h": "help"}
_TAKES_IDS = frozenset({"rmi", "tag", "push", "save", "history"})
# Each of the other subcommands: the module with its function, and that function.
_OWN = {
    "run": ("sundog_run", "run_image"),
    "exec": ("sundog_run", "run_in_container"),
    "root": ("sundog_root", "root"),
    "kernel install": ("sundog_kernel", "install"),
    "install": ("sundog_install", "install"),
    "uninstall": ("sundog_install", "uninstall"),
    "ps": ("sundog_containers", "ps"),
    "stop": ("sundog_containers", "stop"),
    "kill": ("sundog_containers", "kill"),
    "rm": ("sundog_containers", "rm"),
    "wait": ("sundog_containers", "wait"),
    "logs": ("sundog_logs", "logs"),
    "top": ("sundog_logs", "top"),
    "create": ("sundog_run", "create"),
    "start": ("sundog_kept", "start"),
    "restart": ("sundog_kept", "restart"),
    "commit": ("sundog_kept", "commit"),
    "cp": ("sundog_cp", "cp"),
    "diff": ("sundog_kept", "diff"),
    "container prune": ("sundog_prune", "prune_containers"),
    "image prune": ("sundog_prune", "prune_images"),
    "system prune": ("sundog_prune", "prune_system"),
    "builder prune": ("sundog_prune", "prune_builder"),
    "images": ("sundog_images", "images"),
    "bake": ("sundog_bake", "bake"),
    "inspect": ("sundog_inspect", "inspect"),
    "image inspect": ("sundog_inspect", "inspect_image"),
    "container inspect": ("sundog_inspect", "inspect_container"),
    "container exists": ("sundog_containers", "exists"),
    "image exists": ("sundog_images", "exists"),
    "version": ("sundog_about", "version"),
    "info": ("sundog_about", "info"),
    "doctor": ("sundog_about", "doctor"),
    "config": ("sundog_config", "config"),
    "agent": ("sundog_agent", "agent"),
    "apptainer": ("sundog_apptainer", "apptainer"),
    "help": ("sundog_help", "help"),
}


def run(argv: Sequence[str]) -> int:
    """Run ``sundog`` with these arguments; return the exit status.

    A negative status is the number of the signal that this process is to die of.
    """
    try:
        context, name, words = _subcommand(argv)
        if name in _OWN:
            module, function = _OWN[name]
            # importlib takes a millisecond
            found = __import__(f"sundog.front.cli.{module}", fromlist=[function])
            status: int = getattr(found, function)(words, context)
            return status
        return _image_lines(name, words, context)
    except (SundogError, OSError) as error:
        from sundog.base.kernel.advice import explained  # a run seldom fails

        new_report().error(explained(error))
        return EXIT_SUNDOG


def _subcommand(argv: Sequence[str]) -> tuple[Context, str, Sequence[str]]:
    """Return the context, the name of the subcommand, and the words after it."""
    storage = None
    words = list(argv)
    while words and words[0].startswith("-") and words[0] not in _ALIASES:
        option, equals, value = words.pop(0).partition("=")
        if option not in ("--storage", "--root", "-s"):
            raise UsageError(f"unknown option before the subcommand: {option}", "sundog --help")
        if not equals:
            if not words:
                raise UsageError(f"{option} needs an argument", "sundog --help")
            value = words.pop(0)
        storage = value
    if not words:
        return Context(storage), "help", [ON_STDERR]
    name = words.pop(0)
    name = _ALIASES.get(name, name)
    while name in _GROUPS:
        if not words or words[0] not in _GROUPS[name]:
            raise _not_in_group(name, words)
        name = _GROUPS[name][words.pop(0)]
    return Context(storage), name, words


def _image_lines(name: str, words: Sequence[str], context: Context) -> int:
    """Run a subcommand that stands for lines of ``ch-image``; return the exit status."""
    from sundog.front.podman.image_lines import SUBCOMMANDS

    subcommand = SUBCOMMANDS.get(name)
    if subcommand is None:
        raise _unknown(name)
    line = scanned(name, words, subcommand.options)
    if line is None:
        return 0
    line.operands = _named(name, line.operands, context)
    if name == "rmi" and line.is_set("force") and line.operands:
        line.operands = _stored(line.operands, context)
        if not line.operands:
            return 0
    lines = subcommand.lines(name, line)
    warn(line)
    if name == "build":
        lines = [[*words[:1], _BUILD_DEFAULT, *words[1:]] for words in lines]
    for translated in lines:
        status = image_line(translated, context)
        if status:
            return EXIT_SUNDOG if status == 2 else status
    return 0


def build_line(words: Sequence[str], context: Context) -> int:
    """Run ``sundog build`` with these words; return the exit status."""
    return _image_lines("build", words, context)


def _named(name: str, operands: list[str], context: Context) -> list[str]:
    """Return the operands with names of images in place of IDs, as of ``sundog images -q``."""
    from sundog.front.podman.run_line import is_id  # of no use to a run

    if name not in _TAKES_IDS or not any(map(is_id, operands)):
        return operands
    from sundog.front.cli.sundog_images import names_of_id  # IDs are seldom given

    found = []
    for operand in operands:
        names = names_of_id(operand, context)
        found += (names if name == "rmi" else names[:1]) or [operand]
    return list(dict.fromkeys(found))


def _stored(images: Sequence[str], context: Context) -> list[str]:
    """Return those of the images that are in storage."""
    from sundog.front.podman.run_line import image_operand
    from sundog.front.stored import image_facts  # few lines ask

    return [image for image in images if image_facts(image_operand(image), context.storage)]


def _not_in_group(group: str, words: Sequence[str]) -> UsageError:
    """Return the error for words after ``group`` that begin with none of its subcommands."""
    from sundog.base.spelling import nearest

    known = f"one of: {', '.join(_GROUPS[group])}"
    if not words or words[0].startswith("-"):
        return UsageError(f"sundog {group}: which subcommand?", known)
    close = nearest(words[0], _GROUPS[group])
    hint = f"did you mean {group} {close}?" if close else known
    return _refused(words[0]) or UsageError(f"unknown subcommand: {group} {words[0]}", hint)


def _unknown(name: str) -> UsageError:
    from sundog.front.options import unknown
    from sundog.front.podman.image_lines import SUBCOMMANDS

    return _refused(name) or unknown(name, [*SUBCOMMANDS, *_OWN], "")


def _refused(name: str) -> UsageError | None:
    """Return the error for a subcommand of podman that ``sundog`` can't have, else None."""
    from sundog.front.podman.refused import REFUSED

    if name not in REFUSED:
        return None
    why, hint = REFUSED[name]
    return UsageError(f"sundog has no {name}: {why}", hint)
