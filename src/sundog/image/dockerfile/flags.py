"""The flags of each instruction, as data, and the check of a statement's flags.

Specification: the Dockerfile reference.
"""

from __future__ import annotations

from sundog.base.spelling import nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sundog.image.dockerfile.statement import Flag, Statement

# The value of a flag: a text, any number of texts, true or false (true if left out), one of these.
TEXT = "text"
TEXTS = "texts"
SWITCH = "switch"
Kind = str | tuple[str, ...]

_FILES: dict[str, Kind] = {
    "chown": TEXT,
    "chmod": TEXT,
    "link": SWITCH,
    "exclude": TEXTS,
}
FLAGS: dict[str, dict[str, Kind]] = {
    "ADD": {**_FILES, "checksum": TEXT, "keep-git-dir": SWITCH, "unpack": SWITCH},
    "COPY": {**_FILES, "from": TEXT, "parents": SWITCH},
    "FROM": {"platform": TEXT, "arg": TEXTS},
    "HEALTHCHECK": {
        "interval": TEXT,
        "timeout": TEXT,
        "start-period": TEXT,
        "start-interval": TEXT,
        "retries": TEXT,
    },
    "RUN": {
        "mount": TEXTS,
        "network": ("default", "none", "host"),
        "security": ("sandbox", "insecure"),
        "device": TEXTS,
    },
}


class Flags:
    """An instruction's flags, checked."""

    __slots__ = ("_given",)

    def __init__(self, statement: Statement) -> None:
        """Check the flags of ``statement``; raise Fault at the first wrong one."""
        known = FLAGS.get(statement.name, {})
        self._given: dict[str, list[Flag]] = {}
        for flag in statement.flags:
            kind = known.get(flag.name)
            if kind is None:
                raise flag.word.fault(
                    f"{statement.name} has no flag --{flag.name}", hint=_flag_hint(flag.name, known)
                )
            earlier = self._given.setdefault(flag.name, [])
            if earlier and kind != TEXTS:
                raise flag.word.fault(f"--{flag.name} is given twice")
            _check_value(flag, kind)
            earlier.append(flag)

    def text(self, name: str) -> str:
        """Return a text flag's value; "" if it is not given."""
        return next(iter(self.texts(name)), "")

    def texts(self, name: str) -> tuple[str, ...]:
        """Return all values of a flag that can be repeated."""
        return tuple(flag.value or "" for flag in self._given.get(name, ()))

    def switch(self, name: str) -> bool:
        """Return a switch's value; False if it is not given."""
        return self.switch_if_given(name) is True

    def switch_if_given(self, name: str) -> bool | None:
        """Return a switch's value; None if it is not given."""
        flag = self.find(name)
        return None if flag is None else (flag.value or "true").lower() == "true"

    def all(self, name: str) -> tuple[Flag, ...]:
        """Return each occurrence of a flag, as written."""
        return tuple(self._given.get(name, ()))

    def find(self, name: str) -> Flag | None:
        """Return a flag as written; None if it is not given."""
        return next(iter(self._given.get(name, ())), None)


def _check_value(flag: Flag, kind: Kind) -> None:
    """Raise Fault if the value is missing, or if this kind of flag does not take it."""
    if kind == SWITCH:
        if flag.value is not None and flag.value.lower() not in ("true", "false"):
            raise flag.word.fault(f"--{flag.name} takes true or false, not {flag.value!r}")
        return
    if flag.value is None:
        raise flag.word.fault(f"--{flag.name} needs a value", hint=f"--{flag.name}=VALUE")
    if isinstance(kind, tuple) and flag.value not in kind:
        raise flag.word.fault(
            f"--{flag.name} takes {' or '.join(kind)}, not {flag.value!r}",
            hint=did_you_mean(flag.value, kind),
        )


def _flag_hint(name: str, known: dict[str, Kind]) -> str:
    if not known:
        return "this instruction has no flags; put -- before the arguments to end the flags"
    close = did_you_mean(name, known, prefix="--")
    return close or f"its flags are {', '.join(f'--{flag}' for flag in known)}"


def did_you_mean(word: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return a hint with the known word that is most like ``word``; "" if there is none."""
    close = nearest(word, known)
    return f"did you mean {prefix}{close}?" if close else ""
