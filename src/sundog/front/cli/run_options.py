"""Read the options, shared by build and modify, that say how to run commands."""

from __future__ import annotations

import os

from sundog.base.configuration.holding import read_configuration
from sundog.base.configuration.keys import CDI_DIRECTORIES
from sundog.base.configuration.storage import default_storage, own_places
from sundog.base.kernel.files import STDERR_FILENO, STDOUT_FILENO
from sundog.errors import SundogError, UsageError
from sundog.front.cli.build_defaults import DefaultForce, default_force
from sundog.image.builder.chosen_force import chosen_force
from sundog.image.builder.files.remote_access import RemoteAccess
from sundog.image.builder.force import is_auto
from sundog.image.builder.options import CACHE_ENABLED, CACHE_MODES, CACHE_NAMESPACE, RunOptions
from sundog.image.builder.run.inject import Hook
from sundog.runtime.cdi.directories import cdi_directories
from sundog.runtime.container.bind_option import parse_bind
from sundog.runtime.container.hidden import checked_binds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.front.cli.build_arguments import RunArguments
    from sundog.front.cli.report import Report
    from sundog.image.builder.force import Force


def chosen_run_options(
    arguments: RunArguments,
    report: Report,
    build_args: Mapping[str, str],
    access: RemoteAccess | None = None,
    emulation_default: str | None = None,
) -> RunOptions:
    """Return the options of RUN; raise UsageError."""
    captured = _hidden_file() if report.hides_stdout else -1
    given = arguments.storage_path()
    storage = default_storage(os.environb) if given is None else os.fsencode(given)
    places = own_places(storage, os.environb)
    binds, own = checked_binds(map(_bind, arguments.bind), places, report.warning)
    force, retry = _force(arguments, report, emulation_default)
    return RunOptions(
        force=force,
        retry=retry,
        binds=tuple(binds),
        own=frozenset(own),
        own_places=tuple(places),
        devices=tuple(map(os.fsencode, arguments.device)),
        cdi_directories=cdi_directories(
            None if arguments.cdi_dirs is None else os.fsencode(arguments.cdi_dirs),
            os.environb.get,
            read_configuration(os.environb).said(CDI_DIRECTORIES),
        ),
        access=access or RemoteAccess(),
        cache_namespace=build_args.get(CACHE_NAMESPACE, ""),
        stdout=captured if report.hides_stdout else STDOUT_FILENO,
        stderr=captured if report.hides_stderr else STDERR_FILENO,
        captured=captured,
        output=None if report.hides_stdout else report.output_sink,
    )


def chosen_cache_mode(option: str | None, environment: Mapping[str, str]) -> str:
    """Return the mode of the build cache: from the option, else from the environment."""
    if option is not None:
        return option
    mode = environment.get("CH_IMAGE_CACHE", "") or CACHE_ENABLED
    if mode not in CACHE_MODES:
        raise UsageError(
            f"$CH_IMAGE_CACHE: invalid build cache mode: {mode}",
            f"one of: {', '.join(CACHE_MODES)}",
        )
    return mode


def chosen_build_args(texts: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the values of ``--build-arg``; raise UsageError."""
    build_args = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f"--build-arg: {text}: no name", "write --build-arg NAME=VALUE")
        if not equals:
            if name not in environment:
                raise UsageError(
                    f"--build-arg: {name}: no value and not in environment",
                    f"write --build-arg {name}=VALUE",
                )
            value = environment[name]
        build_args[name] = value
    return build_args


def _force(arguments: RunArguments, report: Report, otherwise: str | None) -> tuple[Force, bool]:
    """Return the emulation that the user asked for, or, with a warning, its substitute.

    Also tell whether a RUN may be tried again under ``notify``.
    """
    given = arguments.force
    default = DefaultForce(given) if given else default_force(os.environ, otherwise)
    force = chosen_force(
        default.mode,
        [Hook.parse(text) for text in arguments.force_cmd],
        fallback=not arguments.no_fallback,
        report=report,
    )
    if otherwise is not None:
        report.info(f"emulation of root: {force.mode}")
    is_chosen = arguments.no_retry or arguments.force_cmd or is_auto(default.mode)
    return force, default.retries and not is_chosen


def _bind(text: str) -> tuple[bytes, bytes, bool | None]:
    """Return --bind as ``parse_bind`` does; a source alone may be relative."""
    given = os.path.abspath(text) if text and ":" not in text else text
    try:
        return parse_bind(os.fsencode(given))
    except SundogError as error:
        raise UsageError(error.message, error.hint) from error


def _hidden_file() -> int:
    """Return a nameless file for output that is shown only if the command fails."""
    directory = os.environ.get("TMPDIR", "")
    directory = directory if os.path.isdir(directory) else "/tmp"
    flags = os.O_TMPFILE | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
    try:
        return os.open(directory, flags, 0o600)
    except OSError:  # the file system has no O_TMPFILE
        return os.memfd_create("output", os.MFD_CLOEXEC)
