"""Make the completion of bash, zsh and fish for one command.

The scripts have the options and the subcommands as data.  For names of images and stages they ask
``ch-image __complete`` (``sundog.front.cli.completion``), which prints names of harmless characters
only.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from command_lines import (
    DIRECTORIES,
    FILES,
    IMAGES,
    IMAGES_AND_FILES,
    STAGES,
    SUBCOMMANDS,
    Argument,
    CommandLine,
    Option,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
# The paths below share/ where the shells look.
PLACES = {
    "bash": "bash-completion/completions/{name}",
    "zsh": "zsh/site-functions/_{name}",
    "fish": "fish/vendor_completions.d/{name}.fish",
}


def files(line: CommandLine) -> dict[str, str]:
    """Return the scripts for a command by their paths below share/."""
    makers = {"bash": bash, "zsh": zsh, "fish": fish}
    return {PLACES[shell].format(name=line.name): make(line) for shell, make in makers.items()}


def all_options(line: CommandLine) -> list[Option]:
    """Return the options of a command line, the common ones last."""
    return [*line.options, *line.common]


def levels(line: CommandLine, name: str = "") -> Iterator[tuple[str, CommandLine]]:
    """Yield the command line and those of all subcommands, with the words of the subcommand."""
    yield name, line
    for each in line.subcommands:
        yield from levels(each, f"{name} {each.name}".lstrip())


# bash


def bash(line: CommandLine) -> str:
    """Return the script for bash: a function with the data, then the function that uses them."""
    function = "_sundog_" + line.name.replace("-", "_")
    rows = []
    for name, level in levels(line):
        words = " ".join(word for option in all_options(level) for word in option.names)
        rows.append(f"        {quoted(f'{name} options')}) data={quoted(words)} ;;")
        for option in all_options(level):
            if option.argument is not None:
                keys = "|".join(quoted(f"{name} {word}") for word in option.names)
                rows.append(f"        {keys}) data={quoted(bash_kind(option.argument))} ;;")
        rows += [
            f"        {quoted(f'{name} {number}')}) data={quoted(bash_kind(operand))} ;;"
            for number, operand in enumerate(level.operands, 1)
        ]
        if level.operands and level.operands[-1].repeats:
            pattern = f"{quoted(name + ' ')}[0-9]*"
            rows.append(f"        {pattern}) data={quoted(bash_kind(level.operands[-1]))} ;;")
        if level.subcommands:
            names = " ".join(each.name for each in level.subcommands)
            rows.append(f"        {quoted(f'{name} subcommands')}) data={quoted(names)} ;;")
    template = (HERE / "completion.bash").read_text(encoding="utf-8")
    return (
        template.replace("@COMMAND@", line.name)
        .replace("@FUNCTION@", function)
        .replace("@DATA@", "\n".join(rows))
    )


def bash_kind(argument: Argument) -> str:
    """Return an argument as a word of the script's data."""
    kind = "words " + " ".join(argument.values) if isinstance(argument.values, tuple) else ""
    return ("attached " if argument.attached else "") + (kind or str(argument.values))


# zsh

ZSH_ACTIONS = {
    DIRECTORIES: "_files -/",
    FILES: "_files",
    IMAGES: "_sundog_names images",
    IMAGES_AND_FILES: "_sundog_images_and_files",
    STAGES: "_sundog_names stages",
    SUBCOMMANDS: "_sundog_subcommands",
}


def zsh(line: CommandLine) -> str:
    """Return the script for zsh."""
    template = (HERE / "completion.zsh").read_text(encoding="utf-8")
    rows = zsh_level(line, "    ")
    return template.replace("@COMMAND@", line.name).replace("@DATA@", "\n".join(rows))


def zsh_level(line: CommandLine, margin: str) -> Iterator[str]:
    """Yield the lines that complete a command line, with those of its subcommands."""
    if not line.subcommands:
        yield from zsh_arguments(line, margin)
        return
    yield f"{margin}subcommands=("
    for each in line.subcommands:
        yield f"{margin}    {quoted(each.name + ':' + each.summary)}"
    yield f"{margin})"
    # The options of the subcommand are its own: -A.
    yield f"{margin}_arguments -s -C -A '-*' : \\"
    for option in line.options:
        yield from (f"{margin}    {spec} \\" for spec in zsh_option(option))
    yield f"{margin}    '1:subcommand:->subcommand' '*::argument:->arguments' && return"
    yield f"{margin}case $state in"
    yield f"{margin}    subcommand) _describe subcommand subcommands ;;"
    yield f"{margin}    arguments)"
    yield f"{margin}        case $words[1] in"
    for each in line.subcommands:
        yield f"{margin}            {each.name})"
        yield from zsh_level(each, margin + " " * 16)
        yield f"{margin}                ;;"
    yield f"{margin}        esac ;;"
    yield f"{margin}esac"


def zsh_arguments(line: CommandLine, margin: str) -> Iterator[str]:
    """Yield the call that completes the options and operands of a command line."""
    yield f"{margin}_arguments -s : \\"
    for option in all_options(line):
        yield from (f"{margin}    {spec} \\" for spec in zsh_option(option))
    for number, operand in enumerate(line.operands, 1):
        place = "*" if operand.repeats else number
        yield f"{margin}    {quoted(f'{place}:{operand.name}:{zsh_action(operand)}')} \\"
    yield f"{margin}    && return"


def zsh_option(option: Option) -> Iterator[str]:
    """Yield the specifications of an option, one for each name; every option may be repeated."""
    text = re.sub(r"([\\\[\]:])", r"\\\1", option.help)
    for name in option.names:
        if option.argument is None:
            yield quoted(f"*{name}[{text}]")
            continue
        is_long = name.startswith("--")
        join = ("=-" if option.argument.attached else "=") if is_long else "+"
        join = "-" if option.argument.attached and not is_long else join
        label = re.sub(r"([\\:])", r"\\\1", option.argument.name)
        colons = "::" if option.argument.attached else ":"
        yield quoted(f"*{name}{join}[{text}]{colons}{label}:{zsh_action(option.argument)}")


def zsh_action(argument: Argument) -> str:
    """Return the action of a specification."""
    if isinstance(argument.values, tuple):
        return f"({' '.join(argument.values)})"
    return ZSH_ACTIONS[argument.values]


# fish

FISH_ACTIONS = {
    DIRECTORIES: "-x -a '(__fish_complete_directories)'",
    FILES: "-r -F",
    IMAGES: "-x -a '(__sundog_names images)'",
    IMAGES_AND_FILES: "-r -F -a '(__sundog_names images)'",
    STAGES: "-x -a '(__sundog_names stages)'",
    SUBCOMMANDS: "-x -a '(__@COMMAND@_subcommands)'",
}


def fish(line: CommandLine) -> str:
    """Return the script for fish."""
    rows = [f"complete -c {line.name} {row}" for row in fish_level(line, [])]
    template = (HERE / "completion.fish").read_text(encoding="utf-8")
    return template.replace("@DATA@", "\n".join(rows)).replace("@COMMAND@", line.name)


def fish_level(line: CommandLine, seen: list[str]) -> Iterator[str]:
    """Yield the arguments of ``complete`` for a command line and its subcommands.

    ``seen`` are the conditions for the words before.
    """
    names = " ".join(each.name for each in line.subcommands)
    here = [*seen, *([f"not __sundog_seen {names}"] if names else [])]
    condition = f"-n {quoted('; and '.join(here))} " if here else ""
    for row in fish_rows(line):
        yield f"{condition}{row}"
    for each in line.subcommands:
        yield f"{condition}-f -a {each.name} -d {quoted(each.summary)}"
        # Words of these may have the same names.
        others = [other.name for other in line.subcommands if other.subcommands and other != each]
        refused = [f"not __sundog_seen {' '.join(others)}"] if others else []
        own = f"__sundog_seen {each.name}"
        yield from fish_level(each, [*seen, own, *refused])


def fish_rows(line: CommandLine) -> Iterator[str]:
    """Yield the options and operands of a command line, as arguments of ``complete``."""
    for option in all_options(line):
        words = []
        for name in option.names:
            if name != "-?":
                words.append(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}")
        if option.argument is not None and not option.argument.attached:
            words.append(fish_action(option.argument))
        yield " ".join([*words, "-d", quoted(option.help)])
    kinds = dict.fromkeys(operand.values for operand in line.operands)
    for values in kinds:
        action = fish_action(Argument("", values))
        yield action.replace("-x ", "-f ").replace("-r ", "")
    if not kinds.keys() & {FILES, IMAGES_AND_FILES}:
        yield "-f"


def fish_action(argument: Argument) -> str:
    """Return the options of ``complete`` for an argument."""
    if isinstance(argument.values, tuple):
        return f"-x -a {quoted(' '.join(argument.values))}" if argument.values else "-x"
    return FISH_ACTIONS[argument.values]


def quoted(text: str) -> str:
    """Return ``text`` as one word of each of the three shells."""
    return "'" + text.replace("'", "'\\''") + "'"
