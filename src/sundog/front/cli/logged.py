"""The lines of the site's log for commands other than starts: few sites have one."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from sundog.base.configuration.holding import read_configuration
from sundog.base.configuration.keys import LOG_PLACE
from sundog.base.kernel.libc import printable
from sundog.base.record.names import canonical_name, spelled_out
from sundog.errors import ReferenceSyntaxError, SundogError
from sundog.front.cli.build_arguments import BuildArguments

_COMMANDS = ("build", "pull", "push", "import", "delete")
_LOOKS = ("dry_run", "parse_only", "check_only")  # options with which nothing is done
_SIGNALLED = 128  # as shells count: sh(1)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.front.cli.common_arguments import ImageArguments


def logged(arguments: ImageArguments, act: Callable[[], int]) -> int:
    """Run ``act``, which is the command of ``arguments``, and log it; return its status."""
    command = arguments.subcommand
    place = _log_place() if command in _COMMANDS and not _only_looks(arguments) else b""
    if not place:
        return act()
    names = _names(arguments)
    storage = arguments.storage or None
    began = time.monotonic()
    identity = _identity(names[0], storage) if command == "delete" and names else ("", "")
    status = act()
    if status == 0 and command != "delete" and names:
        identity = _identity(names[0], storage)
    shown = " ".join(names) or None
    _write(place, f"ch-image {command}", shown, status=status, identity=identity, began=began)
    return status


def log_conversion(source: str, status: int, began: float) -> None:
    """Log a conversion that began at ``began``, by the monotonic clock."""
    place = _log_place()
    if place:
        shown = source if _is_image(source) else None
        _write(place, "ch-convert", shown, status=status, identity=("", ""), began=began)


def _write(
    place: bytes,
    command: str,
    image: str | None,
    *,
    status: int,
    identity: tuple[str, str],
    began: float,
) -> None:
    from sundog.base.configuration.log import LogEntry, open_log

    entry = LogEntry(
        command,
        None if image is None else printable(os.fsencode(image)),
        status=_SIGNALLED - status if status < 0 else status,
        identity=identity,
        duration=time.monotonic() - began,
    )
    log = open_log(place, os.environb)
    if log is not None:
        log.write(entry)


def _log_place() -> bytes:
    """Return where the log is; b"" without one.  A mistake is told by who needs the rest."""
    try:
        said = read_configuration(os.environb).values(LOG_PLACE)
    except (SundogError, OSError):
        return b""
    return said[0] if said else b""


def _only_looks(arguments: ImageArguments) -> bool:
    return any(getattr(arguments, name, False) for name in _LOOKS)


def _names(arguments: ImageArguments) -> list[str]:
    """Return the names of the images in storage that a command is about."""
    found: list[str] = []
    for option in ("destination", "reference", "globs", "tag"):
        value = getattr(arguments, option, None)
        if not value or (option == "destination" and arguments.subcommand == "push"):
            continue
        found = [value] if isinstance(value, str) else list(value)
        break
    if isinstance(arguments, BuildArguments) and not found and os.path.isdir(arguments.context):
        from sundog.image.builder.naming import inferred_name

        found = [inferred_name(arguments.file or "", arguments.context)]
    return [name for name in found if _is_image(name)]


def _is_image(text: str) -> bool:
    """Tell whether a word is the name of an image or a path, and nothing that slipped in."""
    try:
        canonical_name(spelled_out(text))
    except ReferenceSyntaxError:
        return os.path.lexists(text)
    return True


def _identity(name: str, storage: str | None) -> tuple[str, str]:
    """Return the ID of an image in storage, and the digest by which it was pulled, or ""."""
    from sundog.front.stored import image_directory
    from sundog.image.store.image_files import read_entry

    with suppress(OSError, SundogError):
        entry = read_entry(os.fsencode(image_directory(spelled_out(name), storage)))
        return entry.id, (entry.blobs or ("",))[0]
    return "", ""
