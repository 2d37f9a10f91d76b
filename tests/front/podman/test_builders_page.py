"""The page for users of other builders says of each option what the table of ``build`` says."""

from __future__ import annotations

import re

from scripts.place import CHECKOUT

from sundog.front.options import HELD, REFUSED, TAKEN, WARNED
from sundog.front.podman.image_options import BUILD

PAGE = CHECKOUT / "docs/how-to/coming-from-builders.md"
TREATMENTS = {name: option.treatment for option in BUILD for name in option.names}
_OPTION = re.compile(r"(?<![\w-])(--?[a-z][a-z-]*)")
# How the right column begins, and how the options of the left one may be treated.
PROMISES = {
    "the same": (TAKEN, HELD),
    "taken": (HELD,),
    "`none` and `host`": (TAKEN,),
    "leave them out": (HELD, WARNED, REFUSED, None),
    "`sundog login`": (REFUSED,),
    "`ENV`": (REFUSED,),
}


def rows(heading: str) -> list[tuple[list[str], str, list[str]]]:
    """Return the rows of a section: the options on the left; the right column, and its options."""
    _, _, section = PAGE.read_text().partition(f"\n## {heading}\n")
    table = [line.split("|") for line in section.partition("\n## ")[0].splitlines() if "|" in line]
    return [
        (_OPTION.findall(left), right.strip(), _OPTION.findall(right))
        for _, left, right, _ in table[2:]
    ]


def test_options_of_buildx_and_podman() -> None:
    seen = set()
    for heading in ("docker buildx build", "podman build, buildah build"):
        for options, right, _ in rows(heading):
            for promise, treatments in PROMISES.items():
                if right.startswith(promise):
                    seen.add(promise)
                    found = {option: TREATMENTS.get(option) for option in options}
                    assert all(each in treatments for each in found.values()), (right, found)
    assert seen == set(PROMISES)


def test_options_for_those_of_kaniko() -> None:
    found = {option for _, _, options in rows("kaniko") for option in options}
    assert len(found) > 12
    assert {option: TREATMENTS.get(option) for option in found} == dict.fromkeys(found, TAKEN)
