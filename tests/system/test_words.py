"""The words of the package: first lines of docstrings, and names of bounds."""

import re
from pathlib import Path

import pytest

import sundog

_CLAUSE = re.compile(
    r'^ *"""(?:What|Whether|Whose|Of|How|Where|Who|Which|When|Why)\b.*', re.MULTILINE
)
_BOUND = re.compile(
    r"^_?(?:(?:LARGEST|LONGEST|MAX|MOST)_[A-Z0-9_]+|[A-Z0-9_]+_MAX)(?= = )", re.MULTILINE
)
# The kernel's and libraries' own names, and facts that bound nothing.
_OTHERS = {
    *("INT64_MAX", "MAX_HANDLE_SZ", "MAX_NON_LFS", "NAME_MAX", "NGROUPS_MAX", "PATH_MAX"),
    *("UINT32_MAX", "XATTR_NAME_MAX", "XATTR_SIZE_MAX", "ZSTD_WINDOW_LOG_MAX"),
    *("LARGEST_PAGE", "LONGEST_INODE", "LONGEST_MAGIC"),
}


@pytest.fixture(scope="module")
def sources() -> list[str]:
    """Return the text of each module."""
    found = [path.read_text("utf-8") for path in Path(sundog.__file__).parent.rglob("*.py")]
    assert len(found) > 500
    return found


def test_first_lines_are_no_clauses(sources: list[str]) -> None:
    """A first line names the thing by a noun, or tells by a verb what it does."""
    assert [found for source in sources for found in _CLAUSE.findall(source)] == []


def test_a_bound_is_a_limit(sources: list[str]) -> None:
    names = {found.lstrip("_") for source in sources for found in _BOUND.findall(source)}
    assert names == _OTHERS
