"""Each option of each command's table has an effect: none is read and then forgotten.

An option of ``sundog`` that is translated changes the line of ``ch-run`` or ``ch-image``.  The code
of a command looks at all its other options.  Other tests say which effect is the right one.
"""

from __future__ import annotations

import argparse
import ast
from functools import cache
from pathlib import Path

import pytest

import sundog
from sundog.errors import SundogError
from sundog.front.cli import (
    checkns_arguments,
    convert_arguments,
    fromhost_arguments,
    selftest_arguments,
)
from sundog.front.cli.image_arguments import _common_options, _parser, _subcommands
from sundog.front.cli.image_subcommands import SUBCOMMANDS as IMAGE_SUBCOMMANDS
from sundog.front.cli.parser import PodmanOption
from sundog.front.cli.sundog_command import _OWN
from sundog.front.cli.sundog_help import described
from sundog.front.oci_runtime.arguments import COMMANDS
from sundog.front.options import TAKEN, Option, scan
from sundog.front.pflag import FALSE, TRUE
from sundog.front.podman.image_lines import SUBCOMMANDS
from sundog.front.podman.run_line import (
    Caller,
    NamedGroup,
    command_user,
    exec_line,
    run_line,
)
from sundog.front.podman.run_options import EXEC, RUN
from sundog.front.podman.users import NOTIFY, Who
from sundog.front.stored import ImageDefaults
from sundog.runtime.launcher.help import OPTIONS
from sundog.runtime.launcher.messages import Messages
from sundog.runtime.launcher.options import CommandLine, Finished

SOURCE = Path(sundog.__file__).parent
ROOMS = ("sundog.front.cli.", "sundog.front.podman.", "sundog.front.stored")
HELP = "help"

# Values for which an option of podman's has an effect; others take "x".
VALUES = {
    "arch": "arm64",
    "device": "a.b/c=d",
    "entrypoint": "sh",
    "env": "A=1",
    "env-file": "vars",
    "format": "oci-archive",
    "force": "seccomp",
    "gpus": "1",
    "network": "none",
    "mount": "type=tmpfs,dst=/x",
    "platform": "linux/arm64",
    "pull": "always",
    "retry": "1",
    "tmpfs": "/x",
    "user": "5:6",
    "userns": "keep-id",
    "volume": "/:/x",
    "workdir": "/x",
}
# Options of run and exec that are not about the line of ch-run.
ELSEWHERE = {
    *("arch", "cidfile", "detach", "interactive", "label", "name", "platform", "pull", "quiet"),
    *("rm", "stop-signal", "stop-timeout", "tls-verify"),
}
# Options that do nothing, although nothing says so at the place: the page of compatibility does.
WITHOUT_EFFECT = {
    ("build", "allow"): "RUN can do only what the user can do",
    ("inspect", "format"): "there is one format",
}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((SOURCE / f"{module.replace('.', '/')}.py").read_text())


@cache
def nodes(module: str) -> tuple[ast.AST, ...]:
    """Return the nodes of a module, and of what it imports of the rooms of commands."""
    found: list[ast.AST] = []
    seen, ahead = set(), [module]
    while ahead:
        name = ahead.pop()
        if name in seen or (
            name.startswith("front.podman.") and name.endswith("_options")
        ):  # a table
            continue
        seen.add(name)
        for node in ast.walk(tree(name)):
            found.append(node)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(ROOMS):
                ahead.append((node.module or "").removeprefix("sundog."))
    return tuple(found)


@cache
def constants(module: str) -> frozenset[object]:
    """Return the constants in the code for a command."""
    return frozenset(node.value for node in nodes(module) if isinstance(node, ast.Constant))


@cache
def everything() -> frozenset[object]:
    """Return the constants in the code for all commands of ``sundog``."""
    return frozenset().union(*(constants(f"front.cli.{module}") for module, _ in _OWN.values()))


@cache
def attributes(module: str) -> frozenset[str]:
    """Return the attributes of ``arguments`` that the code for a command reads."""
    return frozenset(
        node.attr
        for node in nodes(module)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and isinstance(node.value, ast.Name)
        and node.value.id == "arguments"
    )


def taken(options: tuple[Option, ...]) -> list[Option]:
    return [option for option in options if option.treatment == TAKEN and option.name != HELP]


def words_for(option: Option) -> list[list[str]]:
    """Return lines with the option, of which one must have an effect."""
    if not option.argument:
        return [[f"{option.names[0]}={value}"] for value in (TRUE, FALSE)]
    return [[f"{option.names[0]}={VALUES.get(option.name, 'x')}"]]


@pytest.mark.parametrize(
    ("name", "option"),
    [
        pytest.param(name, option, id=f"{name} {option.name}")
        for name, subcommand in SUBCOMMANDS.items()
        for option in taken(tuple(subcommand.options))
        # --force leaves out what is not in storage: test_changes_are_kept.  --first is an error
        # without another option: test_image_lines.
        if (name, option.name) not in {("rmi", "force"), ("push", "first")}
    ],
)
def test_lines_for_ch_image(name: str, option: Option) -> None:
    subcommand = SUBCOMMANDS[name]
    operands = ["a", "b"][: max(1, subcommand.least)] if subcommand.most != 0 else []

    def lines(words: list[str]) -> object:
        rest = [] if option.name == "all" and words else operands
        return subcommand.translate(scan([*words, *rest], subcommand.options, command=name))

    assert any(lines(words) != lines([]) for words in words_for(option))


@pytest.mark.parametrize(
    ("name", "option"),
    [
        pytest.param(name, option, id=f"{name} {option.name}")
        for name, options in (("run", RUN), ("exec", EXEC))
        for option in taken(options)
    ],
)
def test_lines_for_ch_run(name: str, option: Option) -> None:
    caller = Caller({"HOST": "1"}, 1000, 100)
    group = NamedGroup("tag", Who(NOTIFY))

    def lines(words: list[str]) -> object:
        options = RUN if name == "run" else EXEC
        line = scan([*words, "img", "c"], options, command=name, permute=False)
        if name == "exec":
            start = exec_line(
                line,
                "img",
                "/",
                group=group,
                caller=caller,
                read_file=lambda _: "A=1",
            )
        else:
            facts = ImageDefaults()
            user = command_user(line, facts, caller)
            start = run_line(line, facts, caller, user=user, read_file=lambda _: "A=1")
        return start.arguments, start.environment

    if option.name in ELSEWHERE:
        assert option.name in everything()
    else:
        assert any(lines(words) != lines([]) for words in words_for(option))


@pytest.mark.parametrize("name", sorted(_OWN.keys() - {"run", "create", "exec", "help"}))
def test_own_subcommands(name: str) -> None:
    """The module of a subcommand names each option, or the option stands for other words."""
    module, _ = _OWN[name]
    _, _, _, options = described(name)
    # What create has noted is for start, stop and ps.
    known = everything() if name == "create" else constants(f"front.cli.{module}")
    if name == "apptainer":
        known |= constants("front.apptainer.messages")
    for option in taken(tuple(options)):
        assert option.to is not None or option.name in known, option.name


def with_effect(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the options of a parser that are more than a text."""
    return [
        action
        for action in parser._actions
        if action.option_strings
        and action.dest not in (HELP, "version")
        and not isinstance(action, PodmanOption)
    ]


@pytest.mark.parametrize("name", IMAGE_SUBCOMMANDS)
def test_ch_image(name: str) -> None:
    own = with_effect(_subcommands(_parser())[name])
    common = {action.dest for action in with_effect(_common_options(hidden=False))}
    read = attributes(f"front.cli.image_{name.replace('-', '_')}") | attributes(
        "front.cli.image_command"
    )
    for action in own:
        if action.dest not in common and (name, action.dest) not in WITHOUT_EFFECT:
            assert action.dest in read, action.option_strings


def test_common_options_of_ch_image() -> None:
    """Some have an effect in some subcommands only, such as those for registries."""
    names = [f"front.cli.image_{name.replace('-', '_')}" for name in IMAGE_SUBCOMMANDS]
    read = set().union(*map(attributes, names), attributes("front.cli.image_command"))
    # ``notes`` says of these that there is nothing to do.
    noted = constants("front.cli.reference_options")
    # The methods of the class of the common options read these.
    read |= {
        node.attr
        for node in ast.walk(tree("front.cli.common_arguments"))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"
    }
    for action in with_effect(_common_options(hidden=False)):
        assert action.dest in read or action.dest in noted, action.option_strings


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (checkns_arguments, "checkns_command"),
        (convert_arguments, "convert_command"),
        (fromhost_arguments, "fromhost_command"),
        (selftest_arguments, "selftest_command"),
    ],
)
def test_small_commands(arguments: object, command: str) -> None:
    read = attributes(f"front.cli.{command}")
    for action in with_effect(arguments.make_parser()):  # type: ignore[attr-defined]
        # An action of its own class adds to what another attribute has.
        is_plain = type(action).__module__ == argparse.__name__
        assert action.dest in read or not is_plain, action.option_strings


@pytest.mark.parametrize("name", [long for _, long, _, _ in OPTIONS])
def test_ch_run(name: str) -> None:
    """Each option changes the command line's state; what it changes is looked at elsewhere."""
    value = {
        "bind": "/a:/b",
        "container": "0" * 64,
        "device": "a.b/c=d",
        "env": "A=1",
        "feature": "overlayfs",
        "test": "log",
        "tmpfs": "/x",
        "unset-env": "X*",
    }.get(name, "1")
    argument = next(argument for _, long, argument, _ in OPTIONS if long == name)
    word = f"--{name}={value}" if argument and not argument.startswith("[") else f"--{name}"
    before = CommandLine([], Messages())
    try:
        after = CommandLine([word.encode()], Messages())
    except Finished:
        return
    except SundogError as error:
        raise AssertionError(word) from error
    changed = state(before).items() ^ state(after).items()
    if name in ("quiet", "verbose"):
        assert after.messages.verbosity != before.messages.verbosity
        return
    assert changed
    for (subject, slot), _ in changed:
        assert any(
            isinstance(node, ast.Attribute)
            and node.attr == slot
            and ast.unparse(node.value).rpartition(".")[2] == (subject or "line")
            for path in (SOURCE / "runtime" / "launcher").glob("*.py")
            for node in ast.walk(tree(f"runtime.launcher.{path.stem}"))
        ), slot


def state(line: CommandLine) -> dict[tuple[str, str], str]:
    """Return the values of a command line by their subjects and names."""
    found = {}
    for slot in set(CommandLine.__slots__) - {"messages"}:
        subject = getattr(line, slot)
        for name in getattr(subject, "__slots__", ()):
            found[slot, name] = repr(getattr(subject, name))
        if not hasattr(subject, "__slots__"):
            found["", slot] = repr(subject)
    return found


def test_ch_run_oci() -> None:
    """Options of runc and crun that change nothing here are listed; the code reads all others."""
    ignored = {
        *("apparmor", "cap", "cgroup", "ignore-paused", "process-label"),
        *("keep", "no-new-keyring", "no-pivot", "no-subreaper"),
    }
    read = set().union(
        *(
            constants(f"front.oci_runtime.{path.stem}")
            for path in (SOURCE / "front" / "oci_runtime").glob("*.py")
        )
    )
    for options, _, _ in COMMANDS.values():
        assert options.keys() - ignored <= read
