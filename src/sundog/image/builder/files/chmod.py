"""``--chmod``: permissions in octal, or as a change of a file's permissions.

Specification: the Dockerfile reference, “COPY --chmod”, which refers to FreeBSD's chmod(1) for the
symbolic form.  A clause without ``u``, ``g``, ``o`` or ``a`` applies to all, regardless of the
umask.  Pure.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass

from sundog.errors import BuildError

_OCTAL = re.compile("[0-7]+")
_CLAUSE = re.compile("([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION = re.compile("([-+=])([ugo]|[rwxXst]*)")
_LIMIT = 0o7777

_WHO = {
    "u": stat.S_ISUID | stat.S_IRWXU,
    "g": stat.S_ISGID | stat.S_IRWXG,
    "o": stat.S_IRWXO,
    "a": stat.S_ISUID | stat.S_ISGID | 0o777,
}
_EXECUTE = 0o111
_PERMISSIONS = {
    "r": 0o444,
    "w": 0o222,
    "x": _EXECUTE,
    "X": _EXECUTE,
    "s": stat.S_ISUID | stat.S_ISGID,
    "t": stat.S_ISVTX,
}
_SHIFT = {"u": 6, "g": 3, "o": 0}


@dataclass(frozen=True, slots=True)
class ModeChange:
    """The effect of ``--chmod``: ``octal`` replaces the mode, else ``actions`` change it in turn.

    An action has three parts: the classes it applies to, as bits; ``+``, ``-`` or ``=``;
    permissions.
    """

    octal: int | None
    actions: tuple[tuple[int, str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> ModeChange:
        """Parse the flag's value; raise BuildError if it is not a mode."""
        if _OCTAL.fullmatch(text):
            if int(text, 8) > _LIMIT:
                raise _no_mode(text)
            return cls(int(text, 8))
        actions = []
        for clause in text.split(","):
            match = _CLAUSE.fullmatch(clause)
            if match is None:
                raise _no_mode(text)
            who = 0
            for letter in match[1]:
                who |= _WHO[letter]
            actions += [(who or _WHO["a"], *action) for action in _ACTION.findall(match[2])]
        return cls(None, tuple(actions))

    def apply(self, mode: int, *, is_directory: bool) -> int:
        """Return the mode of a copy, for a file or directory of ``mode``."""
        if self.octal is not None:
            return self.octal
        old = mode
        for who, operator, letters in self.actions:
            mask = who
            if letters in _SHIFT and letters:
                bits = (mode >> _SHIFT[letters] & 0o7) * _EXECUTE
            else:
                bits = 0
                for letter in letters:
                    if letter != "X" or is_directory or old & _EXECUTE:
                        bits |= _PERMISSIONS[letter]
                if who != stat.S_IRWXO:
                    mask |= bits & stat.S_ISVTX
            bits &= mask
            if operator == "-":
                mode &= ~bits
            else:
                mode = (mode & ~mask if operator == "=" else mode) | bits
        return mode


def _no_mode(text: str) -> BuildError:
    return BuildError(
        f"--chmod: not a mode: {text}", "octal up to 7777, or a change as in u=rwX,go=rX"
    )
