"""The table of docs/explanation/security.md has the right numbers of cases."""

from __future__ import annotations

import re

import pytest
from scripts.place import CHECKOUT

from tests.hostile import (
    test_archives,
    test_contexts,
    test_dockerfiles,
    test_image,
    test_registry,
)

PAGE = CHECKOUT / "docs" / "explanation" / "security.md"
# The attacker, the cases, and their minimum number.
TABLES = {
    "image": (test_image.CASES, 60),
    "registry": (test_registry.CASES, 150),
    "archive": (test_archives.CASES, 100),
    "Dockerfile": (test_dockerfiles.CASES, 40),
    "context": (test_contexts.CASES, 40),
}


@pytest.mark.parametrize("attacker", TABLES)
def test_the_page_counts_what_is_there(attacker: str) -> None:
    cases, least = TABLES[attacker]
    told = re.search(rf"^\| {attacker} \| (\d+) \|", PAGE.read_text(encoding="utf-8"), re.M)
    assert told
    assert int(told[1]) == len(cases) >= least
