"""The command lines of all commands, as values: from the tables that ``--help`` is made from.

Completion and manual pages are made from these values.  A new command is one row of ``COMMANDS``.

This module imports the modules of the command lines from the checkout, so the build runs it in a
process of its own: see ``command_files``.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Completions of a word: a kind, or the words themselves.  A kind for each name of an argument.
FILES, DIRECTORIES, IMAGES, STAGES = "files", "directories", "images", "stages"
IMAGES_AND_FILES, SUBCOMMANDS = "images-and-files", "subcommands"
UNKNOWN: tuple[str, ...] = ()
KINDS = {
    "BIND": DIRECTORIES,
    "CONTEXT": DIRECTORIES,
    "DIR": DIRECTORIES,
    "DOCKERFILE": FILES,
    "FAKED": FILES,
    "FILE": FILES,
    "GLOB": IMAGES,
    "IMAGE": IMAGES,
    "IMGDIR": DIRECTORIES,
    "IN": IMAGES_AND_FILES,
    "LIB": FILES,
    "NAME": IMAGES,
    "NEW": IMAGES,
    "OUT": IMAGES_AND_FILES,
    "PATH": FILES,
    "SCRIPT": FILES,
    "STAGE": STAGES,
}
# The kinds that the name does not tell.  A test compares the words with the modules.
OTHER_KINDS: dict[tuple[str, str], str | tuple[str, ...]] = {
    ("ch-convert", "--in-fmt"): (
        *("ch-image", "dir", "docker", "docker-archive", "oci-archive", "oci-dir", "podman"),
        *("sif", "squash", "tar"),
    ),
    ("ch-convert", "--out-fmt"): (
        *("ch-image", "dir", "docker", "docker-archive", "enroot", "oci-archive", "oci-dir"),
        *("podman", "sif", "squash", "tar"),
    ),
    ("ch-image", "--bind"): DIRECTORIES,
    ("ch-image", "--compression"): ("gzip", "zstd", "none"),
    ("ch-image", "--force"): (
        *("seccomp", "notify", "auto", "fakeroot", "none", "notify,strict", "auto,strict"),
    ),
    ("ch-image", "--image"): DIRECTORIES,
    ("ch-image", "SUBCOMMAND"): SUBCOMMANDS,
    ("ch-run", "--bind"): DIRECTORIES,
    ("ch-run", "--env"): UNKNOWN,
    ("ch-run", "--feature"): ("extglob", "overlayfs", "seccomp", "squash", "tmpfs-xattrs"),
    ("ch-run", "--notify"): ("strict",),
    ("ch-run", "--set-env"): FILES,
    ("ch-run", "--set-env0"): FILES,
    ("ch-run", "--test"): ("log", "log-fail"),
    ("ch-run", "--unset-env"): UNKNOWN,
    ("ch-run", "IMAGE"): IMAGES_AND_FILES,
    ("sundog apptainer", "--network"): ("none",),
    ("sundog apptainer", "--no-mount"): ("home", "tmp", "cwd", "bind-paths"),
}
# The kinds of Apptainer's arguments; its NAMEs are no images.
APPTAINER_KINDS = {
    **dict.fromkeys(("FILE", "IMAGE", "PATH", "SOURCE", "SRC", "TARGET"), FILES),
    "DIR": DIRECTORIES,
}


@dataclass(frozen=True)
class Argument:
    """An operand, or the argument of an option.

    ``values``: a kind, or the words that are possible; ``attached``: only ``--option=VALUE`` and
    ``-oVALUE`` give it; ``repeats``: more of them may follow.
    """

    name: str
    values: str | tuple[str, ...] = UNKNOWN
    attached: bool = False
    repeats: bool = False


@dataclass(frozen=True)
class Option:
    """An option by its names; ``argument`` is None if it takes none."""

    names: tuple[str, ...]
    help: str
    argument: Argument | None = None


@dataclass(frozen=True)
class CommandLine:
    """The command line of a command or of a subcommand.

    ``common``: the options of a subcommand that only the help of the command lists.
    """

    name: str
    summary: str
    options: tuple[Option, ...]
    operands: tuple[Argument, ...] = ()
    subcommands: tuple[CommandLine, ...] = ()
    common: tuple[Option, ...] = ()


def from_argparse(parser: argparse.ArgumentParser, command: str, summary: str = "") -> CommandLine:
    """Return the command line that a parser reads."""
    options, hidden, operands = [], [], []
    subcommands: list[CommandLine] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            subcommands = [
                from_argparse(each, command, helps[name]) for name, each in action.choices.items()
            ]
        elif not action.option_strings:
            name = str(action.metavar or action.dest)
            repeats = action.nargs in ("*", "+")
            operands.append(Argument(name, kind(command, name, name, action), repeats=repeats))
        elif not getattr(action, "is_foreign", False):
            name = argument_name(action)
            argument = None
            if name:
                argument = Argument(name, kind(command, action.option_strings[-1], name, action))
            names = tuple(action.option_strings)
            is_common = action.help == argparse.SUPPRESS
            option = Option(names, "" if is_common else action.help or "", argument)
            (hidden if is_common else options).append(option)
    title = parser.prog.split()[-1]
    return CommandLine(
        title,
        summary or parser.description or "",
        tuple(options),
        tuple(operands),
        tuple(subcommands),
        tuple(hidden),
    )


def argument_name(action: argparse.Action) -> str:
    """Return the name of an option's argument, or "" if it takes none."""
    if action.nargs == 0 or isinstance(action, argparse._CountAction):
        return ""
    if action.choices is not None:
        return "VALUE"
    return str(action.metavar or action.dest.upper())


def kind(
    command: str, key: str, name: str, action: argparse.Action | None = None
) -> str | tuple[str, ...]:
    """Return what completes an argument: ``key`` is the option's long name, or ``name`` again."""
    if action is not None and action.choices is not None:
        return tuple(action.choices)
    return OTHER_KINDS.get((command, key), KINDS.get(name, UNKNOWN))


def parsed(command: str, module: str, maker: str = "make_parser") -> CommandLine:
    """Return the command line of a command from the parser that a function of a module makes."""
    return from_argparse(getattr(import_module(f"sundog.front.cli.{module}"), maker)(), command)


def ch_run() -> CommandLine:
    """Return the command line of ``ch-run``, which has a table of its own."""
    module = import_module("sundog.runtime.launcher.help")
    options = []
    for short, long, written, text in module.OPTIONS:
        name = written.strip("[]").partition("[")[0].partition(":")[0]
        argument = None
        if written:
            values = kind("ch-run", f"--{long}", name)
            argument = Argument(written.strip("[]"), values, attached=written.startswith("["))
        names = (*([f"-{short}"] if short else []), f"--{long}")
        options.append(Option(names, text, argument))
    operands = (Argument("IMAGE", OTHER_KINDS["ch-run", "IMAGE"]),)
    return CommandLine("ch-run", "run a command in a container", tuple(options), operands)


def ch_run_oci() -> CommandLine:
    """Return the command line of ``ch-run-oci``, which programs write; so its options have no help.

    docs/reference/ch-run-oci.md describes them.
    """
    module = import_module("sundog.front.oci_runtime.arguments")

    def options(table: dict[str, str]) -> tuple[Option, ...]:
        values = {
            name: None if how == module.FLAG else Argument("VALUE") for name, how in table.items()
        }
        return tuple(Option((f"--{name}",), "", value) for name, value in values.items())

    operands = (Argument("COMMAND", tuple(module.COMMANDS)),)
    summary = "run containers by OCI bundles"
    return CommandLine("ch-run-oci", summary, options(module.GLOBAL), operands)


def sundog() -> CommandLine:
    """Return the command line of ``sundog``, whose options are those of podman."""
    module = import_module("sundog.front.cli.sundog_help")
    subcommands = []
    for name in module.names():
        operands, summary, _, options = module.described(name)
        if " " not in name:
            words = [word.strip("[]…") for word in operands.split()]
            arguments = [Argument(word, kind("sundog", word, word)) for word in words if word]
            found = tuple(map(podman_option, options))
            subcommands.append(CommandLine(name, summary, found, tuple(arguments)))
    apptainer = nested(sundog_apptainer(), "apptainer")
    subcommands = [apptainer if each.name == apptainer.name else each for each in subcommands]
    storage = Option(("-s", "--storage"), "where the images are", Argument("DIR", DIRECTORIES))
    summary = "containers with the words of podman and docker"
    return CommandLine("sundog", summary, (storage,), subcommands=tuple(subcommands))


def sundog_apptainer() -> CommandLine:
    """Return the command line of ``sundog apptainer``, whose options are those of Apptainer."""
    module = import_module("sundog.front.cli.sundog_help")
    start = "apptainer"
    found = []
    for name in module.names():
        operands, summary, _, options = module.described(name)
        if name == start:
            whole = tuple(map(apptainer_option, options))
            summary_of_all = summary
        elif name.startswith(f"{start} "):
            names = [word.strip("[]…") for word in operands.split()]
            arguments = tuple(Argument(word, apptainer_kind(word, word)) for word in names)
            words = tuple(map(apptainer_option, options))
            found.append(CommandLine(name.removeprefix(f"{start} "), summary, words, arguments))
    return CommandLine("sundog-apptainer", summary_of_all, whole, subcommands=tuple(found))


def nested(line: CommandLine, name: str) -> CommandLine:
    """Return a command line as the subcommand ``name``, with its subcommands of two words below."""
    groups: dict[str, list[CommandLine]] = {}
    for each in line.subcommands:
        first, _, rest = each.name.partition(" ")
        groups.setdefault(first, []).append(replace(each, name=rest))
    subcommands = []
    for first, found in groups.items():
        help_of_all = Option(("--help", "-h"), "print this help and exit")
        names = ", ".join(each.name for each in found)
        own = next((each for each in found if not each.name), CommandLine("", names, ()))
        if not own.options:
            own = replace(own, options=(help_of_all,))
        below = tuple(each for each in found if each.name)
        operands = () if below else own.operands
        subcommands.append(replace(own, name=first, operands=operands, subcommands=below))
    return replace(line, name=name, subcommands=tuple(subcommands))


def apptainer_option(option: Any) -> Option:
    """Return an option of ``sundog apptainer``."""
    argument = None
    if option.argument:
        kind = apptainer_kind(option.names[0], option.argument)
        argument = Argument(option.argument, kind)
    return Option(option.names, option.text, argument)


def apptainer_kind(key: str, argument: str) -> str | tuple[str, ...]:
    """Return what completes an argument, whose first name tells the kind: ``SRC[:DST[:ro]]``."""
    name = re.split(r"[^A-Z]", argument, maxsplit=1)[0]
    return OTHER_KINDS.get(("sundog apptainer", key), APPTAINER_KINDS.get(name, UNKNOWN))


def podman_option(option: Any) -> Option:
    """Return an option of ``sundog``; brackets mark an argument that may only be attached."""
    argument = None
    if option.argument:
        name = option.argument.strip("[]")
        attached = option.argument.startswith("[")
        argument = Argument(name, kind("sundog", option.names[0], name), attached=attached)
    return Option(option.names, option.text, argument)


def sundog_fakeroot() -> CommandLine:
    """Return the command line of ``sundog-fakeroot``, which has a table of its own."""
    module = import_module("sundog.runtime.fakeroot.options")
    options = []
    for short, long, written, text in module.FAKEROOT_OPTIONS:
        names = (f"-{short}", *([f"--{long}"] if long else []))
        argument = Argument(written, kind("sundog-fakeroot", names[-1], written))
        options.append(Option(names, text, argument if written else None))
    operands = (Argument("COMMAND"), Argument("ARG", repeats=True))
    return CommandLine("sundog-fakeroot", module.SUMMARY, tuple(options), operands)


# The commands that get completion and a manual page.
COMMANDS: dict[str, Callable[[], CommandLine]] = {
    "ch-checkns": partial(parsed, "ch-checkns", "checkns_arguments"),
    "ch-convert": partial(parsed, "ch-convert", "convert_arguments"),
    "ch-fromhost": partial(parsed, "ch-fromhost", "fromhost_arguments"),
    "ch-image": partial(parsed, "ch-image", "image_arguments", "_parser"),
    "ch-run": ch_run,
    "ch-run-oci": ch_run_oci,
    "ch-test": partial(parsed, "ch-test", "selftest_arguments"),
    "sundog": sundog,
    "sundog-fakeroot": sundog_fakeroot,
}
# Command lines that have manual pages only, and their documents.
PAGES: dict[str, Callable[[], CommandLine]] = {"apptainer.md": sundog_apptainer}
