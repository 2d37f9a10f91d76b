"""``ch-image modify``: run commands in an image and keep the result, as RUN does in a build.

Each command is one instruction, and so is a script as a whole: it makes one layer, one entry of the
history and one of the build cache.  An interactive shell makes a layer, too, but the cache does not
have it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from sundog.base.kernel.process import STRING_LIMIT
from sundog.base.record.names import canonical_name
from sundog.errors import SundogError, UsageError
from sundog.front.cli.registries import chosen_platform
from sundog.front.cli.run_options import chosen_build_args, chosen_cache_mode, chosen_run_options
from sundog.front.cli.shared_names import sharer
from sundog.image.builder.executor import build
from sundog.image.builder.files.context import BuildContext
from sundog.image.builder.metadata import DEFAULT_SHELL
from sundog.image.builder.options import CACHE_DISABLED, BuildOptions
from sundog.image.convert.adopt import stored_or_shared
from sundog.image.dockerfile.instructions import From, Place, Run
from sundog.image.dockerfile.parse import Dockerfile
from sundog.image.dockerfile.source import Source
from sundog.image.oci.timestamps import EPOCH_VARIABLE, parse_epoch
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.cli.build_arguments import ModifyArguments
    from sundog.front.cli.report import Report
    from sundog.image.dockerfile.instructions import Instruction

_STDIN = "-"


def run(arguments: ModifyArguments, report: Report) -> int:
    """Modify an image; return the exit status."""
    target = arguments.target or arguments.reference
    canonical_name(target)  # a bad name fails before the work begins
    build_args = chosen_build_args(arguments.build_arg, os.environ)
    run_options = chosen_run_options(arguments, report, build_args)
    is_interactive = _is_interactive(arguments)
    commands = [] if is_interactive else _commands(arguments)
    cache_mode = chosen_cache_mode(arguments.cache, os.environ)
    if is_interactive:
        run_options = replace(run_options, interactive=True)
        cache_mode = CACHE_DISABLED
    options = BuildOptions(
        (target,),
        BuildContext(None),
        run_options,
        build_args,
        environment=os.environ,
        epoch=parse_epoch(os.environ.get(EPOCH_VARIABLE, ""), f"${EPOCH_VARIABLE}"),
        cache_mode=cache_mode,
        dry_run=arguments.dry_run,
        real_sync=arguments.real_sync,
        is_modification=True,
        share=sharer(arguments, report),
    )
    with Store.open(arguments.storage_path(), tell=report.info) as store:
        shared, platform = arguments.shared_stores(report.warning), chosen_platform(arguments.arch)
        image = stored_or_shared(store, arguments.reference, shared, report, platform)
        if is_interactive:
            shell = arguments.shell or (image.config.shell or DEFAULT_SHELL)[0]
            dockerfile = _with_shell(image.typed, shell)
            if not arguments.dry_run:
                report.info(f"exit 0 makes the result {target}; another status drops all changes")
        else:
            dockerfile = _as_dockerfile(image.typed, commands, arguments.shell)
        build(store, dockerfile, options, report)
    return 0


def _is_interactive(arguments: ModifyArguments) -> bool:
    """Tell whether the user wants a shell: by ``-i``, or because there is nothing else to run."""
    if not arguments.interactive:
        return not arguments.command and arguments.script is None and sys.stdin.isatty()
    if arguments.command:
        raise UsageError('incompatible opts: "-c", "-i"', "leave out one of them")
    if arguments.script is not None:
        raise UsageError("script mode incompatible with interactive mode", "leave out SCRIPT or -i")
    return True


def _commands(arguments: ModifyArguments) -> list[str]:
    """Return the commands to run: those of ``-c``, else the script; raise UsageError."""
    if arguments.command:
        if arguments.script is not None:
            raise UsageError("script mode incompatible with command mode", "leave out SCRIPT or -c")
        commands = list(arguments.command)
    else:
        commands = [_script(arguments.script)]
    for command in commands:
        size = len(os.fsencode(command))
        if size >= STRING_LIMIT or "\0" in command:
            fault = "a NUL in it" if "\0" in command else f"{size} bytes"
            raise UsageError(
                f"can't run a command with {fault}",
                f"at most {STRING_LIMIT - 1} bytes of text; a Dockerfile can have more in a "
                "heredoc of RUN",
            )
    return commands


def _script(path: str | None) -> str:
    """Return the text of the script, by default from standard input; raise UsageError."""
    hint = "give commands with -c, a script, or commands on standard input; or -i for a shell"
    if path is None or path == _STDIN:
        if sys.stdin.isatty():
            raise UsageError("modify mode unclear", hint)
        text = sys.stdin.buffer.read()
    else:
        try:
            with open(path, "rb") as file:
                text = file.read()
        except OSError as error:
            raise SundogError(f"can't read script {path}: {error.strerror}") from error
    if not text.strip():
        raise UsageError("modify mode unclear: nothing to run", hint)
    return os.fsdecode(text)


def _as_dockerfile(image: str, commands: Sequence[str], shell: str | None) -> Dockerfile:
    """Return a Dockerfile that does the same, one instruction a line."""
    lines = [f"FROM {image}", *(f"RUN {' '.join(command.split())}" for command in commands)]
    places = [Place(line, line, text) for line, text in enumerate(lines, 1)]
    runs = (
        Run(place=place, args=(command,), is_exec=False)
        if shell is None
        else Run(place=place, args=(shell, "-c", command), is_exec=True)
        for place, command in zip(places[1:], commands, strict=True)
    )
    return _dockerfile(lines, From(place=places[0], image_text=image), *runs)


def _with_shell(image: str, shell: str) -> Dockerfile:
    """Return a Dockerfile that runs a shell in an image."""
    lines = [f"FROM {image}", f"RUN {shell}"]
    start, place = (Place(line, line, text) for line, text in enumerate(lines, 1))
    run = Run(place=place, args=(shell,), is_exec=True)
    return _dockerfile(lines, From(place=start, image_text=image), run)


def _dockerfile(lines: Sequence[str], *instructions: Instruction) -> Dockerfile:
    return Dockerfile("modify", (), instructions, Source("\n".join(lines), "modify"))
