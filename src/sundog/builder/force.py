"""``--force``: which emulation of root a RUN gets.

The modes' names and tags are Charliecloud's; docs/design.md, section 1, tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from sundog.builder.run.inject import DEFAULT_HOOKS, Hook
from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_TAGS = {"none": "N", "seccomp": "S", "notify": "C"}
_LATER = {
    "fakeroot": "the LD_PRELOAD helper is not in this version",
}


@dataclass(frozen=True, slots=True)
class Force:
    """How a RUN's command is made to believe that it is root."""

    mode: str
    hooks: tuple[Hook, ...] = ()

    @classmethod
    def choose(cls, mode: str, hooks: Sequence[Hook] = ()) -> Force:
        """Return what ``--force=MODE`` and ``--force-cmd`` ask for; raise UsageError.

        ``hooks`` replace those that a mode has by itself.
        """
        if mode in _LATER:
            raise UsageError(
                f"--force={mode}: {_LATER[mode]}", "use --force=seccomp, which is the default"
            )
        if mode not in _TAGS:
            raise UsageError(f"--force={mode}: no such mode", "one of: seccomp, notify, none")
        if hooks and mode != "seccomp":
            raise UsageError(
                f"--force-cmd and --force={mode} are incompatible", "leave out one of them"
            )
        if mode == "seccomp":
            return cls(mode, tuple(hooks) or DEFAULT_HOOKS)
        return cls(mode)

    @property
    def instruction(self) -> str:
        """RUN as it is announced and recorded, the mode's tag with it."""
        return f"RUN.{_TAGS[self.mode]}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables for RUN, unless the Dockerfile sets them."""
        if self.mode == "none":
            # As root, tar gives files to the owners that the archive names; here it could not.
            return {"TAR_OPTIONS": "--no-same-owner"}
        return {}

    @property
    def notify(self) -> bool:
        """Whether RUN's command runs under a supervisor, which remembers what it answers."""
        return self.mode == "notify"

    @property
    def seccomp(self) -> bool:
        """Whether RUN's command runs under the filter."""
        return self.mode == "seccomp"
