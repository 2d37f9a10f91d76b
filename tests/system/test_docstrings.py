"""The form of the docstrings in the package."""

import re
from pathlib import Path

import sundog

_CLAUSE = re.compile(
    r'^ *"""(What|Whether|Whose|Of|How|Where|Who|Which|When|Why)\b.*', re.MULTILINE
)


def test_first_lines_are_no_clauses() -> None:
    """A first line names the thing by a noun, or tells by a verb what it does."""
    sources = [path.read_text("utf-8") for path in Path(sundog.__file__).parent.rglob("*.py")]
    assert len(sources) > 500
    found = [clause[0] for source in sources for clause in _CLAUSE.finditer(source)]
    assert found == []
