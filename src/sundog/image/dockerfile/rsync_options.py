"""The options of RSYNC: what a Dockerfile may give to rsync(1), one by one.

Specification: Charliecloud's documentation, “RSYNC”.  An option's argument needs ``=``.
"""

from __future__ import annotations

from dataclasses import dataclass

from sundog.errors import SundogError

DEFAULT_PLUS = "l"
# The options of rsync that each plus option stands for.
_ATTRIBUTES = ("-@=-1", "-A", "-H", "-S", "-X", "-p", "-r")
PLUS_OPTIONS: dict[str, tuple[str, ...]] = {
    "l": (*_ATTRIBUTES, "-l", "--safe-links"),
    "m": _ATTRIBUTES,
    "u": (*_ATTRIBUTES, "-l", "--copy-unsafe-links"),
    "z": (),
}

# Options that make no sense in a build, or that lead elsewhere than from the context to the image.
_DISALLOWED = frozenset(
    [
        *("-n", "-e", "-M", "-T", "--daemon", "--dry-run", "--remove-source-files", "--server"),
        *("--sender", "--list-only", "--write-batch", "--only-write-batch", "--read-batch"),
        *("--log-file", "--log-file-format", "--rsh", "--rsync-path", "--remote-option"),
        *("--compare-dest", "--copy-dest", "--link-dest", "--temp-dir", "--out-format"),
        *("--log-format", "--password-file", "--early-input", "--copy-as", "--fake-super"),
        *("--config", "--no-detach", "--address", "--port", "--sockopts"),
    ]
)
_OWNERS = frozenset(["--chown", "--usermap", "--groupmap"])
_WITH_ARGUMENT = frozenset(
    [
        *("-@", "-B", "-f", "--backup-dir", "--block-size", "--bwlimit", "--checksum-choice"),
        *("--checksum-seed", "--chmod", "--compress-choice", "--compress-level", "--debug"),
        *("--exclude", "--exclude-from", "--files-from", "--filter", "--iconv", "--include"),
        *("--include-from", "--info", "--max-alloc", "--max-delete", "--max-size", "--min-size"),
        *("--modify-window", "--outbuf", "--partial-dir", "--protocol", "--skip-compress"),
        *("--stderr", "--stop-after", "--stop-at", "--suffix", "--timeout", "--zc", "--cc", "--zl"),
    ]
)
_FROM = ("--exclude-from", "--files-from", "--include-from")
# With these, rsync leaves out what the destination lacks.
_ONLY_EXISTING = frozenset(["--existing", "--ignore-non-existing"])
# With these, the times of files decide, or are copied.
_TIMES = frozenset(
    ["-a", "-t", "-u", "-O", "-U", "-N", "--archive", "--times", "--update", "--atimes"]
)


@dataclass(frozen=True, slots=True)
class RsyncOptions:
    """The checked options of one RSYNC; short ones one by one."""

    plus: str
    given: tuple[str, ...]

    @classmethod
    def parse(cls, plus: str, words: tuple[str, ...]) -> RsyncOptions:
        """Check the options; raise SundogError for one that RSYNC does not take."""
        if plus not in PLUS_OPTIONS:
            raise SundogError(
                f"invalid plus option: {plus}",
                f"one of: {', '.join('+' + x for x in PLUS_OPTIONS)}",
            )
        given = tuple(option for word in words for option in _single(word))
        for option in given:
            _check(option)
        return cls(plus, given)

    @property
    def all(self) -> tuple[str, ...]:
        """Those of the plus option, and those that were given."""
        return PLUS_OPTIONS[self.plus] + self.given

    @property
    def text(self) -> str:
        """The options for the output and the history; short ones as one word."""
        letters = "".join(x[1] for x in self.given if not x.startswith("--") and "=" not in x)
        others = [x for x in self.given if x.startswith("--") or "=" in x]
        return " ".join([f"+{self.plus}", *([f"-{letters}"] if letters else []), *others])

    @property
    def uses_times(self) -> bool:
        """Tell whether the times of files matter."""
        return any(option in _TIMES for option in self.given)

    @property
    def needs_image(self) -> bool:
        """Tell whether an option names a file of the image."""
        return any(path.startswith("/") for path in map(_from_path, self.given))

    def arguments(self, context: str, image: str, *, for_listing: bool) -> list[str]:
        """Return the options for rsync; both directories are as rsync sees them.

        ``for_listing`` leaves out what depends on the destination.
        """
        found = []
        for option in self.all:
            if for_listing and option in _ONLY_EXISTING:
                continue
            path = _from_path(option)
            if path:
                place = image + path if path.startswith("/") else f"{context}/{path}"
                option = f"{option.partition('=')[0]}={place}"  # noqa: PLW2901
            found.append(option)
        return found


def _single(word: str) -> list[str]:
    """Return the options of a word: ``-av`` has two."""
    if word.startswith("--"):
        return [word]
    found = []
    letters = word[1:]
    while letters:
        if letters[1:2] == "=":  # the rest is its argument
            found.append(f"-{letters}")
            break
        found.append(f"-{letters[0]}")
        letters = letters[1:]
    return found


def _check(option: str) -> None:
    name, equals, _ = option.partition("=")
    if name in _OWNERS:
        raise SundogError(f"disallowed option: {name}", "all files belong to root; RUN chown")
    if name in _DISALLOWED:
        raise SundogError(f"disallowed option: {name}")
    if name in _WITH_ARGUMENT and not equals:
        raise SundogError(f"option needs an argument with =: {name}", f"write {name}=ARGUMENT")
    if name in _FROM:
        path = _from_path(option)
        if path == "-":
            raise SundogError("--*-from: can't use standard input", "name a file of the context")
        if not path or ":" in path:
            raise SundogError("--*-from: can't use remote hosts (colon in path)")


def _from_path(option: str) -> str:
    """Return the file that an option names; "" for another option."""
    name, _, path = option.partition("=")
    return path if name in _FROM else ""
