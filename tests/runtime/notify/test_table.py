"""Each row of ``table`` prints under notify what it printed for real root."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.runtime.notify.record import EXPECTED
from tests.runtime.notify.table import ROWS, Row, row_script

if TYPE_CHECKING:
    from tests.runtime.notify.conftest import Container


PARAMETERS = [
    pytest.param(
        row,
        id=f"{row.base}:{row.name}",
        marks=[pytest.mark.slow] if row.base in ("tools", "rpm") else [],
    )
    for row in ROWS
]


@pytest.mark.parametrize("row", PARAMETERS)
def test_prints_what_it_prints_for_real_root(row: Row, request: pytest.FixtureRequest) -> None:
    container: Container = request.getfixturevalue(row.base)
    options = ("--strict",) if row.strict else ()
    assert container.sh(row_script(row), *options) == (EXPECTED / f"{row.name}.txt").read_text()
