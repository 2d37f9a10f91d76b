"""--filter of ``sundog ps``, ``images`` and the prunes.

A filter is KEY=VALUE, for some keys KEY!=VALUE.  A thing must pass the filters of every key; of
several filters with one key, one suffices, except for labels.

Specification: podman-ps(1), podman-images(1), podman-container-prune(1).
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeVar

    Thing = TypeVar("Thing")

    Test = Callable[[Thing], bool]
    Tests = Mapping[str, Callable[[str], Test[Thing]]]

_LABELS = "label"


class Filters:
    """The filters of a command line.

    ``tests`` has for each key a function that reads the value and returns the test of a thing.
    """

    __slots__ = ("_found",)

    def __init__(self, texts: Iterable[str], tests: Tests[Thing], command: str) -> None:
        """Read the filters.  Raises UsageError."""
        self._found: dict[str, list[Callable[..., bool]]] = {}
        for text in texts:
            key, equals, value = text.partition("=")
            negated = key.endswith("!")
            key = key.removesuffix("!").lower()
            if not equals or key not in tests or (negated and key != _LABELS):
                raise UsageError(
                    f"--filter {text}: no such filter", f"sundog {command} has {', '.join(tests)}"
                )
            test = tests[key](value)
            self._found.setdefault(key, []).append(_inverted(test) if negated else test)

    def pass_on(self, thing: object) -> bool:
        """Tell whether a thing passes all filters."""
        return all(
            all(test(thing) for test in tests)
            if key == _LABELS
            else any(test(thing) for test in tests)
            for key, tests in self._found.items()
        )


def _inverted(test: Callable[..., bool]) -> Callable[..., bool]:
    return lambda thing: not test(thing)


def has_label(labels: Mapping[str, str], value: str) -> bool:
    """Tell whether ``labels`` have KEY, or KEY=VALUE; KEY may be a glob."""
    key, equals, wanted = value.partition("=")
    return any(
        fnmatchcase(name, key) and (not equals or found == wanted) for name, found in labels.items()
    )


def truth(text: str, name: str) -> bool:
    """Return the Boolean ``text`` of the filter ``name``.  Raises UsageError."""
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("false", "0"):
        return False
    raise UsageError(f"--filter {name}={text}: neither true nor false", f"{name}=true")
