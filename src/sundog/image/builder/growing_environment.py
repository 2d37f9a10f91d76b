"""The variables of a configuration that a build extends, one ENV after the other.

A Dockerfile may have thousands of ENV.  Each looks only at what it adds.
"""

from __future__ import annotations

import hashlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class GrowingEnvironment:
    """The entries of ``ImageConfig.env`` that were seen last, their variables and their digest."""

    def __init__(self) -> None:
        self._entries: Sequence[str] = ()
        self._variables: dict[str, str] = {}
        self._state = hashlib.sha256()

    def variables(self, entries: Sequence[str]) -> Mapping[str, str]:
        """Return the variables by name, as ``ImageConfig.environment``; a view, not a copy."""
        self._follow(entries)
        return self._variables

    def digest(self, entries: Sequence[str]) -> str:
        """Return a digest of the entries in their order, as hexadecimal digits."""
        self._follow(entries)
        return self._state.hexdigest()

    def _follow(self, entries: Sequence[str]) -> None:
        count = len(self._entries)
        if entries[:count] != self._entries:
            count, self._variables, self._state = 0, {}, hashlib.sha256()
        for entry in entries[count:]:
            name, _, value = entry.partition("=")
            if name:
                self._variables[name] = value
            data = entry.encode("utf-8", "surrogateescape")
            self._state.update(b"%d:%b" % (len(data), data))
        self._entries = entries
