"""``--force``: the emulation of root for RUN.

The modes' names and tags are Charliecloud's; docs/design.md, section 1, describes them.
"""

from __future__ import annotations

from dataclasses import dataclass

from sundog.errors import UsageError
from sundog.image.builder.run.inject import APT_CONFIG, APT_CONFIGURATION, DEFAULT_HOOKS, Hook
from sundog.image.builder.run.recipes import RECIPES
from sundog.image.store.run_force import FORCE_TAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.builder.keys import Field

_TAGS = FORCE_TAGS
AUTO = "auto"  # notify or seccomp, as the machine allows: ``chosen_force`` decides
STRICT = "strict"  # as in notify,strict: reading and writing obey owners and modes
# As root, tar gives files to the owners in the archive; without emulation, it can't.
_TAR_AS_USER = {"TAR_OPTIONS": "--no-same-owner"}
_ENVIRONMENTS = {
    # libfakeroot also tries the real chown(2), and does not ignore EINVAL for an unmapped ID.
    "fakeroot": {"FAKEROOTDONTTRYCHOWN": "1", **_TAR_AS_USER},
    "none": _TAR_AS_USER,
}


@dataclass(frozen=True, slots=True)
class Force:
    """The way to make RUN's command believe that it is root."""

    mode: str
    hooks: tuple[Hook, ...] = ()
    strict: bool = False

    @classmethod
    def choose(cls, mode: str, hooks: Sequence[Hook] = ()) -> Force:
        """Return the emulation for ``--force=MODE`` and ``--force-cmd``; raise UsageError.

        ``hooks`` replace the mode's default hooks.
        """
        mode, comma, level = mode.partition(",")
        if mode not in _TAGS or (comma and (mode, level) != ("notify", STRICT)):
            modes = ", ".join([*_TAGS, AUTO, f"notify,{STRICT}", f"{AUTO},{STRICT}"])
            mode += comma + level
            raise UsageError(f"--force={mode}: no such mode", f"one of: {modes}")
        if hooks and mode != "seccomp":
            raise UsageError(
                f"--force-cmd and --force={mode} are incompatible", "leave out one of them"
            )
        if mode == "seccomp":
            return cls(mode, tuple(hooks) or DEFAULT_HOOKS)
        return cls(mode, strict=bool(comma))

    @property
    def instruction(self) -> str:
        """The word RUN for the output and the history, with the mode's tag."""
        return f"RUN.{_TAGS[self.mode]}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables for RUN, unless the Dockerfile sets them."""
        return _ENVIRONMENTS.get(self.mode, {})

    @property
    def files(self) -> dict[bytes, bytes]:
        """The files that only RUN sees, by path."""
        return {APT_CONFIG.encode(): APT_CONFIGURATION} if self.hooks == DEFAULT_HOOKS else {}

    @property
    def unkeyed(self) -> dict[str, str]:
        """Variables that name these files, unless the Dockerfile sets them; no part of the key."""
        return {"APT_CONFIG": APT_CONFIG} if self.files else {}

    @property
    def key(self) -> Field:
        """The emulation's part of the key of a RUN.

        The recipes of fakeroot decide about its result, together with the image below.
        """
        if self.strict:
            return [self.mode, STRICT]
        return [self.mode, repr(RECIPES)] if self.fakeroot else self.mode

    @property
    def fakeroot(self) -> bool:
        """Tell whether RUN's command runs under the program fakeroot if it needs that."""
        return self.mode == "fakeroot"

    @property
    def notify(self) -> bool:
        """Tell whether RUN's command runs under a supervisor, which remembers its answers."""
        return self.mode == "notify"

    @property
    def seccomp(self) -> bool:
        """Tell whether RUN's command runs under the filter."""
        return self.mode == "seccomp"


def preferred(mode: str) -> str:
    """Return ``mode`` with ``notify`` in place of ``auto``."""
    name, comma, level = mode.partition(",")
    return ("notify" if name == AUTO else name) + comma + level


def is_auto(mode: str) -> bool:
    """Tell whether the machine decides about ``mode``."""
    return mode.partition(",")[0] == AUTO
