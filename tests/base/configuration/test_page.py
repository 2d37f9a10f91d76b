"""The page of the configuration has each key, as the table of keys says it."""

from scripts.place import CHECKOUT

from sundog.base.configuration.keys import KEYS
from sundog.base.configuration.kinds import KINDS

PAGE = CHECKOUT / "docs" / "reference" / "configuration.md"


def test_each_key_has_a_row() -> None:
    rows = {}
    for line in PAGE.read_text().splitlines():
        if line.startswith("| `"):
            path, kind, variable, option, _ = (
                cell.strip() for cell in line.strip("| ").split(" | ")
            )
            rows[path.strip("`")] = kind.replace("`", ""), variable, option
    assert list(rows) == [key.path for key in KEYS]
    for key in KEYS:
        kind, variable, option = rows[key.path]
        assert kind == KINDS[key.kind].words
        assert key.variable in variable if key.variable else variable == "none"
        assert key.option in option if key.option else option == "none"
