"""The shared caches of a build: ``--cache-from``, ``--cache-to``, ``--cache-ttl``."""

from __future__ import annotations

from functools import cache, partial

from sundog.errors import UsageError
from sundog.front.cli.registries import open_session
from sundog.front.pflag_values import parse_duration
from sundog.front.podman.times import SECOND
from sundog.image.builder.shared.cache import ATTEMPTS
from sundog.image.builder.shared.directory_place import DirectoryPlace
from sundog.image.builder.shared.place import LOCAL, PlaceText, Sharing
from sundog.image.builder.shared.registry_place import RegistryPlace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.build_arguments import BuildArguments
    from sundog.front.cli.report import Report
    from sundog.image.builder.shared.place import Place

SILENCE = 15.0  # seconds: so long a build waits for the next byte of its cache


def chosen_sharing(arguments: BuildArguments, report: Report) -> Sharing:
    """Return the shared caches that a command line names; raise UsageError."""
    session = cache(partial(open_session, arguments, report, attempts=ATTEMPTS))

    def open_place(text: PlaceText) -> Place:
        if text.kind == LOCAL:
            return DirectoryPlace(text, report.warning)
        # A registry may take a minute to keep a large layer.
        is_source = text.option == "--cache-from"
        return RegistryPlace(text, session(silence=SILENCE) if is_source else session(), report)

    return Sharing(
        [PlaceText.parse(text, "--cache-from") for text in arguments.cache_from],
        [PlaceText.parse(text, "--cache-to") for text in arguments.cache_to],
        _longest(arguments.cache_ttl),
        open_place,
    )


def _longest(text: str) -> float | None:
    """Return the seconds of --cache-ttl, None without it."""
    if not text:
        return None
    duration = parse_duration(text)
    if duration is None:
        raise UsageError(f"--cache-ttl {text}: not a duration", "as in 168h, or 1h30m")
    return duration / SECOND
