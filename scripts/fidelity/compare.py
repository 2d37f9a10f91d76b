"""Compare the results of real root with those of an emulation."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from scripts.fidelity.entries import Entry

if TYPE_CHECKING:
    from scripts.fidelity.emulated import Made
    from scripts.fidelity.entries import View
    from scripts.fidelity.reference import Reference

METADATA = (r"ch|ch/.*", "what programs may know of their image")
# Allowed differences, by the way of looking: a pattern of paths, and the reason.  The layers' tars
# have none.
EXCLUDED = {
    "tar": (),
    "RUN": ((r"etc/(hosts|resolv\.conf)", "the host's, bound over"), METADATA),
    "podman": ((r"etc/(hostname|hosts|resolv\.conf)", "podman's, bound over"), METADATA),
    "ch-run": (
        (r"etc/(hosts|machine-id|resolv\.conf)", "the host's, bound over"),
        METADATA,
        (r"mnt/\d", "the mount points that every image by name has"),
    ),
}
# Extended attributes, by name, for every way of looking.
EXCLUDED_XATTRS = {
    "user.librepo.checksum.mtime": "dnf keeps a time stamp of what it has read",
}


@dataclass(frozen=True)
class Difference:
    """A path, what real root made there, and what the emulation made there."""

    path: str
    real: str
    emulated: str

    def __str__(self) -> str:
        return f"{self.path}: real root: {self.real}; emulated: {self.emulated}"


@dataclass(frozen=True)
class Verdict:
    """The result of one install: its differences by way of looking, or why it failed."""

    compared: int = 0
    differences: dict[str, list[Difference]] = field(default_factory=dict)
    failure: str = ""

    def __str__(self) -> str:
        """Return the number of paths that differ."""
        if self.failure:
            return "build fails"
        return str(len({found.path for some in self.differences.values() for found in some}))

    def lines(self, most: int) -> list[str]:
        """Return the differences, at most so many lines for each way of looking."""
        lines = self.failure.splitlines()
        for way, found in self.differences.items():
            lines += [f"{way}: {difference}" for difference in found[:most]]
            if len(found) > most:
                lines.append(f"{way}: and {len(found) - most} more")
        return lines


def judge(real: Reference, emulated: Made) -> Verdict:
    """Compare by every way of looking: at the layers' tars, and by each program inside."""
    compared, found = compare("tar", real.tree, emulated.tree, emulated.made)
    differences = {"tar": found}
    for place, look in emulated.inside.items():
        for program, view in real.inside.items():
            _, found = compare(place, view, look[program], emulated.made)
            differences[f"{place}, {program}"] = found
    return Verdict(compared, differences)


def compare(
    place: str, real: View, emulated: View, made: frozenset[str]
) -> tuple[int, list[Difference]]:
    """Return how many paths were compared, and the differences.

    ``place`` is a key of EXCLUDED.  ``made`` are the paths of the layer that the install made:
    their hard links are compared too.  Hard links in a layer below come apart when one name is
    changed.
    """
    excluded = re.compile("|".join(f"(?:{pattern})" for pattern, _ in EXCLUDED[place]) or "(?!)")
    differences = []
    paths = sorted(
        path for path in {*real.entries, *emulated.entries} if not excluded.fullmatch(path)
    )
    for path in paths:
        one, other = (_shown(view.entries.get(path)) for view in (real, emulated))
        if one == other:
            one, other = (_names(view, path, made) for view in (real, emulated))
        if one != other:
            differences.append(Difference(path, one, other))
    return len(paths), differences


def _shown(entry: Entry | str | None) -> str:
    if entry is None:
        return "absent"
    if isinstance(entry, Entry):
        kept = tuple(pair for pair in entry.xattrs if pair[0] not in EXCLUDED_XATTRS)
        entry = replace(entry, xattrs=kept)
    return str(entry)


def _names(view: View, path: str, made: frozenset[str]) -> str:
    """Return the other names, made by the install, of the file at ``path``."""
    if path not in made:
        return ""
    others = view.links.get(path, frozenset()) & made - {path}
    return f"also {' '.join(sorted(others))}" if others else "no other name"
