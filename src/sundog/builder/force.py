"""``--force``: the emulation of root for RUN.

The modes' names and tags are Charliecloud's; docs/design.md, section 1, describes them.
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
    "fakeroot": "this version does not have the LD_PRELOAD helper",
}


@dataclass(frozen=True, slots=True)
class Force:
    """The way to make RUN's command believe that it is root."""

    mode: str
    hooks: tuple[Hook, ...] = ()

    @classmethod
    def choose(cls, mode: str, hooks: Sequence[Hook] = ()) -> Force:
        """Return the emulation for ``--force=MODE`` and ``--force-cmd``; raise UsageError.

        ``hooks`` replace the mode's default hooks.
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
        """The word RUN for the output and the history, with the mode's tag."""
        return f"RUN.{_TAGS[self.mode]}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables for RUN, unless the Dockerfile sets them."""
        if self.mode == "none":
            # As root, tar gives files to the owners in the archive; here it can't.
            return {"TAR_OPTIONS": "--no-same-owner"}
        return {}

    @property
    def notify(self) -> bool:
        """Whether RUN's command runs under a supervisor, which remembers its answers."""
        return self.mode == "notify"

    @property
    def seccomp(self) -> bool:
        """Whether RUN's command runs under the filter."""
        return self.mode == "seccomp"
