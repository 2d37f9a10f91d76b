"""An environment as execve(2) passes it: any strings, most of them NAME=VALUE."""

from __future__ import annotations

CH_RUNNING = b"Weird Al Yankovic"  # $CH_RUNNING: programs see that they run in a container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Environment:
    """The variables of a program, and every string of the environment that it started with.

    A look-up finds what getenv(3) finds: if a name has two values, the first.  Unchanged strings
    stay in their place, even if they are not variables.  A string without "=" counts as a name when
    names are unset.
    """

    __slots__ = ("_changed", "_inherited", "_values")

    def __init__(self, strings: list[bytes]) -> None:
        self._inherited = strings
        self._values: dict[bytes, bytes] = {}
        self._changed: dict[bytes, None] = {}
        for string in strings:
            name, equals, value = string.partition(b"=")
            if equals:
                self._values.setdefault(name, value)

    @classmethod
    def of(cls, variables: Mapping[bytes, bytes]) -> Environment:
        """Return the environment that has only these variables."""
        return cls([name + b"=" + value for name, value in variables.items()])

    def __contains__(self, name: bytes) -> bool:
        return name in self._values

    def get(self, name: bytes) -> bytes | None:
        """Return the value of a variable."""
        return self._values.get(name)

    def set(self, name: bytes, value: bytes) -> None:
        """Set a variable to the one value ``value``."""
        self._values[name] = value
        self._changed[name] = None

    def unset(self, name: bytes) -> None:
        """Remove all strings with the name ``name``, if there are any."""
        self._values.pop(name, None)
        self._changed[name] = None

    def names(self) -> list[bytes]:
        """Return the names of all strings, each once, in the order of the strings."""
        return list(dict.fromkeys(string.partition(b"=")[0] for string in self.strings()))

    def strings(self) -> list[bytes]:
        """Return the strings for execve(2)."""
        left = {name: self._values[name] for name in self._changed if name in self._values}
        strings = []
        for string in self._inherited:
            name, _, _ = string.partition(b"=")
            if name not in self._changed:
                strings.append(string)
            elif name in left:
                strings.append(name + b"=" + left.pop(name))
        return strings + [name + b"=" + value for name, value in left.items()]
