"""The grammar of each instruction: statements to values.

Specification: the Dockerfile reference; BuildKit where the reference leaves room.  The table
``GRAMMAR`` at the end lists the language's instructions.
"""

from __future__ import annotations

import re

from sundog.errors import SubstitutionError
from sundog.image.dockerfile.blanks import BLANKS
from sundog.image.dockerfile.devices import DeviceSyntaxError, parse_device
from sundog.image.dockerfile.flag_values import duration, number
from sundog.image.dockerfile.flags import Flags, did_you_mean
from sundog.image.dockerfile.heredocs import Heredoc, parse_marker
from sundog.image.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Nsync,
    Onbuild,
    Place,
    Rsync,
    Run,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from sundog.image.dockerfile.mounts import MountSyntaxError, parse_mount
from sundog.image.dockerfile.rsync_options import DEFAULT_PLUS
from sundog.image.dockerfile.statement import Statement, Word, comment_hint, json_strings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Grammar = Callable[[Statement, Place], Instruction]

# Instructions whose arguments may announce heredocs.
HEREDOC_INSTRUCTIONS = ("RUN", "COPY", "ADD")

_FEWEST_OPERANDS = 2  # of RSYNC
_ALIAS = r"[a-z][a-z0-9._-]*"
_ALIAS_HINT = "a stage's name is a letter, then letters, digits, '.', '_', '-'"
_NOT_TRIGGERS = ("ONBUILD", "FROM", "MAINTAINER")


def build_instruction(statement: Statement, place: Place) -> Instruction:
    """Convert a statement to its instruction; raise Fault."""
    grammar = GRAMMAR.get(statement.name)
    if grammar is None:
        raise statement.keyword.fault(
            f"unknown instruction: {statement.keyword.text}",
            hint=did_you_mean(statement.name, GRAMMAR) or _continuation_hint(statement),
        )
    return grammar(statement, place)


def _continuation_hint(statement: Statement) -> str:
    return f"if it belongs to the line above, that line must end with {statement.escape}"


def _from(statement: Statement, place: Place) -> From:
    flags = Flags(statement)
    words = statement.separated()
    match [word.text for word in words]:
        case [image]:
            alias = ""
        case [image, keyword, name] if keyword.upper() == "AS":
            alias = name.lower()
            if not re.fullmatch(_ALIAS, alias):
                raise words[2].fault(f"not a name for a stage: {name!r}", hint=_ALIAS_HINT)
        case _:
            raise statement.fault(
                "FROM needs an image, and may have AS and a name",
                hint=comment_hint(words) or "FROM [--platform=PLATFORM] IMAGE [AS NAME]",
            )
    return From(
        place=place,
        image_text=image,
        alias=alias,
        platform=flags.text("platform"),
        variables=tuple(
            _variable(Word(text := flag.value or "", flag.word.end - len(text)), "FROM --arg")
            for flag in flags.all("arg")
        ),
    )


def _arg(statement: Statement, place: Place) -> Arg:
    Flags(statement)
    words = statement.quoted()
    if not words:
        raise statement.fault("ARG needs a name", hint="ARG NAME[=DEFAULT]")
    return Arg(place=place, variables=tuple(_variable(word, "ARG") for word in words))


def _variable(word: Word, where: str) -> tuple[str, str | None]:
    """Parse ``NAME[=DEFAULT]``."""
    name, equals, default = word.text.partition("=")
    if not name:
        raise word.fault(f"{where}: no name before '='")
    return name, default if equals else None


def _env(statement: Statement, place: Place) -> Env:
    Flags(statement)
    return Env(place=place, pairs=tuple(statement.pairs()))


def _label(statement: Statement, place: Place) -> Label:
    Flags(statement)
    return Label(place=place, pairs=tuple(statement.pairs()))


def _command(arguments: Word) -> tuple[tuple[str, ...], bool]:
    """Parse a command: return its arguments and True, or its text for the shell and False."""
    strings = json_strings(arguments)
    return ((arguments.text,), False) if strings is None else (tuple(strings), True)


def _cmd(statement: Statement, place: Place) -> Cmd:
    Flags(statement)
    args, is_exec = _command(statement.string())
    return Cmd(place=place, args=args, is_exec=is_exec)


def _entrypoint(statement: Statement, place: Place) -> Entrypoint:
    Flags(statement)
    args, is_exec = _command(statement.string())
    return Entrypoint(place=place, args=args, is_exec=is_exec)


def _run(statement: Statement, place: Place) -> Run:
    flags = Flags(statement)
    args, is_exec = _command(statement.string())
    if not args:
        raise statement.fault("RUN needs a command", hint='as in RUN ["/bin/true"]')
    for flag in flags.all("mount") + flags.all("device"):
        try:
            (parse_mount if flag.name == "mount" else parse_device)(flag.value or "")
        except (MountSyntaxError, DeviceSyntaxError) as error:
            raise flag.word.fault(error.message, error.hint) from error
    return Run(
        place=place,
        args=args,
        is_exec=is_exec,
        heredocs=statement.heredocs,
        mounts=flags.texts("mount"),
        network=flags.text("network"),
        security=flags.text("security"),
        devices=flags.texts("device"),
    )


def _copy(statement: Statement, place: Place) -> Copy:
    flags = Flags(statement)
    sources, heredocs, destination = _files(statement)
    return Copy(
        place=place,
        sources=sources,
        heredocs=heredocs,
        destination=destination,
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.switch("link"),
        excludes=flags.texts("exclude"),
        from_=flags.text("from"),
        parents=flags.switch("parents"),
    )


def _add(statement: Statement, place: Place) -> Add:
    flags = Flags(statement)
    sources, heredocs, destination = _files(statement)
    return Add(
        place=place,
        sources=sources,
        heredocs=heredocs,
        destination=destination,
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.switch("link"),
        excludes=flags.texts("exclude"),
        checksum=flags.text("checksum"),
        keep_git_dir=flags.switch("keep-git-dir"),
        unpack=flags.switch_if_given("unpack"),
    )


def _files(statement: Statement) -> tuple[tuple[str, ...], tuple[Heredoc, ...], str]:
    """Parse the sources (heredocs apart from the others) and the destination."""
    *words, destination = statement.list_or_json() or [Word("", 0)]
    if not words:
        raise statement.fault(
            f"{statement.name} needs a source and a destination",
            hint=f"{statement.name} SOURCE… DESTINATION",
        )
    by_name = {heredoc.name: heredoc for heredoc in statement.heredocs}
    if by_name and _heredoc_of(destination, by_name):
        raise destination.fault("a heredoc can't be the destination")
    sources = tuple(word.text for word in words if not _heredoc_of(word, by_name))
    heredocs = tuple(filter(None, (_heredoc_of(word, by_name) for word in words)))
    return sources, heredocs, destination.text


def _heredoc_of(word: Word, by_name: dict[str, Heredoc]) -> Heredoc | None:
    """Return the heredoc that ``word`` announces; None if it is a path."""
    try:
        marker = parse_marker(word.text) if by_name else None
    except SubstitutionError:  # half of <<"two words", which is two arguments here
        return None
    return by_name.get(marker.name) if marker else None


def _rsync(statement: Statement, place: Place) -> Rsync:
    words = statement.options_and_arguments()
    plus = DEFAULT_PLUS
    if words and words[0].text.startswith("+"):
        plus = words.pop(0).text[1:]
    count = 0
    while count < len(words) and words[count].text.startswith(("-", "'-", '"-')):
        count += 1
    options, operands = words[:count], words[count:]
    if len(operands) < _FEWEST_OPERANDS:
        raise statement.fault(
            f"{statement.name} needs a source and a destination",
            hint=f"{statement.name} [+PLUS] [OPTION…] SOURCE… DESTINATION",
        )
    *sources, destination = operands
    kind = Nsync if statement.name == "NSYNC" else Rsync
    return kind(
        place=place,
        plus=plus,
        options=tuple(word.text for word in options),
        sources=tuple(word.text for word in sources),
        destination=destination.text,
    )


def _workdir(statement: Statement, place: Place) -> Workdir:
    Flags(statement)
    return Workdir(place=place, path=statement.string().text)


def _user(statement: Statement, place: Place) -> User:
    Flags(statement)
    return User(place=place, user=statement.string().text)


def _stopsignal(statement: Statement, place: Place) -> Stopsignal:
    Flags(statement)
    return Stopsignal(place=place, signal=statement.string().text)


def _maintainer(statement: Statement, place: Place) -> Maintainer:
    Flags(statement)
    return Maintainer(place=place, maintainer=statement.string().text)


def _shell(statement: Statement, place: Place) -> Shell:
    Flags(statement)
    strings = json_strings(statement.arguments)
    if not strings:
        raise statement.fault(
            "SHELL needs a JSON array of strings", hint='as in SHELL ["/bin/bash", "-c"]'
        )
    return Shell(place=place, shell=tuple(strings))


def _expose(statement: Statement, place: Place) -> Expose:
    Flags(statement)
    statement.string()
    return Expose(place=place, ports=tuple(word.text for word in statement.separated()))


def _volume(statement: Statement, place: Place) -> Volume:
    Flags(statement)
    words = statement.list_or_json()
    if not words or not all(word.text.strip(BLANKS) for word in words):
        raise statement.fault("VOLUME needs a path", hint="VOLUME PATH…")
    return Volume(place=place, volumes=tuple(word.text.strip(BLANKS) for word in words))


def _healthcheck(statement: Statement, place: Place) -> Healthcheck:
    flags = Flags(statement)
    kind, *_ = statement.separated() or [statement.string()]
    rest = statement.text[kind.end : statement.arguments.end].lstrip(BLANKS)
    command = Word(rest, statement.arguments.end - len(rest))
    if kind.text.upper() == "NONE":
        if command.text:
            raise command.fault("HEALTHCHECK NONE takes no arguments")
        return Healthcheck(place=place, test=("NONE",))
    if kind.text.upper() != "CMD":
        raise kind.fault(f"HEALTHCHECK takes CMD or NONE, not {kind.text}")
    args, is_exec = _command(command)
    if not any(args):
        raise statement.fault("HEALTHCHECK CMD needs a command")
    return Healthcheck(
        place=place,
        test=("CMD" if is_exec else "CMD-SHELL", *args),
        interval=duration(flags, "interval"),
        timeout=duration(flags, "timeout"),
        start_period=duration(flags, "start-period"),
        start_interval=duration(flags, "start-interval"),
        retries=number(flags, "retries"),
    )


def _onbuild(statement: Statement, place: Place) -> Onbuild:
    Flags(statement)
    nested = statement.nested()
    nested.heredocs = statement.heredocs
    if nested.name in _NOT_TRIGGERS:
        raise nested.keyword.fault(f"{nested.name} can't be an ONBUILD trigger")
    bodies = (f"\n{heredoc.content}{heredoc.name}" for heredoc in statement.heredocs)
    return Onbuild(
        place=place,
        trigger=build_instruction(nested, place),
        trigger_text=statement.arguments.text + "".join(bodies),
    )


GRAMMAR: dict[str, Grammar] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "NSYNC": _rsync,
    "ONBUILD": _onbuild,
    "RSYNC": _rsync,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
