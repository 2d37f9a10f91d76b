"""--filter of ``sundog ps`` and ``container prune``.

Specification: podman-ps(1), podman-container-prune(1).
"""

from __future__ import annotations

import re
import time

from sundog.errors import UsageError
from sundog.front.podman.filters import Filters, has_label
from sundog.front.podman.times import parse_moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.front.podman.container_view import View

_STATES = ("created", "running", "exited", "paused", "stopped", "unknown")


def container_filters(texts: Sequence[str], views: Sequence[View], command: str) -> Filters:
    """Return the filters ``texts`` of a command about containers; ``views`` are all of them.

    Raises UsageError.
    """

    def status(value: str) -> Callable[[View], bool]:
        if value not in _STATES:
            raise UsageError(
                f"--filter status={value}: no such state", f"one of: {', '.join(_STATES)}"
            )
        return lambda view: view.container.state == value

    def compared(name: str, *, older: bool) -> Callable[[str], Callable[[View], bool]]:
        def read(value: str) -> Callable[[View], bool]:
            others = [view.container.created for view in views if _is_called(view, value)]
            if not others:
                raise UsageError(f"--filter {name}={value}: no such container", "sundog ps -a")
            if older:
                return lambda view: view.container.created < others[0]
            return lambda view: view.container.created > others[0]

        return read

    def exited(value: str) -> Callable[[View], bool]:
        if not value.isascii() or not value.isdigit():
            raise UsageError(f"--filter exited={value}: not a number", "exited=0")
        return lambda view: view.container.state == "exited" and view.exit_code == int(value)

    def until(value: str) -> Callable[[View], bool]:
        bound = parse_moment(value, "--filter until", time.time_ns())
        return lambda view: view.container.created <= bound

    return Filters(
        texts,
        {
            "id": lambda value: lambda view: _matches(view.container.identity, value),
            "name": lambda value: lambda view: _matches(view.container.name, value),
            "label": lambda value: lambda view: has_label(view.labels, value),
            "status": status,
            "exited": exited,
            "ancestor": lambda value: lambda view: _is_of(view.container.image, value),
            "before": compared("before", older=True),
            "since": compared("since", older=False),
            "until": until,
            "volume": lambda value: (
                lambda view: any(
                    value in (mount["Source"], mount["Destination"]) for mount in view.mounts
                )
            ),
        },
        command,
    )


def _is_called(view: View, text: str) -> bool:
    container = view.container
    return container.name == text or (len(text) >= 4 and container.identity.startswith(text))


def _matches(text: str, pattern: str) -> bool:
    """Tell whether a regular expression matches a part of a text.  Raises UsageError."""
    try:
        return re.search(pattern, text) is not None
    except re.error as error:
        raise UsageError(f"--filter: not a regular expression: {pattern}", str(error)) from error


def _is_of(image: str, value: str) -> bool:
    """Tell whether an image has a name, with its tag or without, or with its last component."""
    names = {image, image.rpartition("/")[2]}
    names |= {name.rpartition(":")[0] for name in names if ":" in name} | {
        f"{name}:latest" for name in names if ":" not in name
    }
    return value in names
