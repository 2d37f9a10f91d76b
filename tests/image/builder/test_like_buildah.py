"""COPY and ADD compared with buildah's results, as real root: ``expected/copy.txt``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.image.builder.copy_table import CASES, PREPARED, STAGE, dockerfile, line, make_context
from tests.image.builder.layers import entries

if TYPE_CHECKING:
    from tests.image.builder.conftest import Workshop

EXPECTED = Path(__file__).parent / "expected" / "copy.txt"

# Cases in which buildah differs from Docker; Sundog follows Docker's reference and BuildKit.
OTHERWISE = {
    "onto symlink to file": "BuildKit resolves the destination, its last component too",
    "add tar chown": "BuildKit gives all members of an archive to the user of --chown",
}


def expected() -> dict[str, set[str]]:
    cases: dict[str, set[str]] = {}
    lines: set[str] = set()
    for text in EXPECTED.read_text().splitlines():
        if text.startswith("= "):
            lines = cases.setdefault(text.removeprefix("= "), set())
        else:
            lines.add(text)
    return cases


def listing(workshop: Workshop, image: str, above: str = "") -> set[str]:
    """Return a line for each file of the layers that ``image`` has beyond those of ``above``."""
    return {
        line(
            path,
            entry.kind,
            entry.owner,
            mode=entry.mode,
            mtime=entry.mtime,
            content=entry.link if entry.kind == "l" else entry.head.hex(),
        )
        for path, entry in entries(workshop, image=image, above=above).items()
        if path not in ("", ".")
    }


@pytest.mark.slow
def test_like_buildah(workshop: Workshop, driver: str) -> None:
    # test_copy.py has both drivers, and tests/image/layer/test_steps.py compares their layers.
    cases = list(expected().items())[:: 1 if driver == "overlay" else 4]
    workshop.context.rmdir()
    make_context(workshop.context)
    workshop.build(PREPARED, tag="prepared")
    workshop.build(STAGE, "--force=notify", tag="s")
    before = listing(workshop, "prepared")
    differences = []
    for case, there in cases:
        done = workshop.build(dockerfile(case), tag="case", check=False)
        here = {"FAILS"} if done.returncode else listing(workshop, "case", "prepared")
        here -= before
        if (here != there) != (case in OTHERWISE):
            only = [f"buildah: {text}" for text in sorted(there - here)]
            ours = [f"sundog:  {text}" for text in sorted(here - there)]
            differences.append(
                "\n  ".join([case, *only, *ours, done.stderr if "FAILS" in here else ""])
            )
    assert expected().keys() == CASES.keys()
    if differences:
        pytest.fail("\n".join(differences))
