"""--format of ``sundog``: rows by a Go template, in a table or in lines."""

from __future__ import annotations

from sundog.base.kernel.libc import escaped
from sundog.front.cli.output import print_columns, print_line
from sundog.front.podman.template_values import Structure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sundog.front.podman.templates import Template

_NARROWEST = 10  # characters of a column, as podman has it
_LAYOUT = "\t\n"


def print_rows(
    template: Template, rows: Iterable[Structure], headings: Structure, *, heading: bool
) -> None:
    """Print rows: in aligned columns below ``headings`` if the template is a table."""
    if not template.is_table:
        for row in rows:
            print_line(template.render(row).removesuffix("\n"), _LAYOUT)
        return
    safe = [Structure({name: _on_one_line(row[name]) for name in row}) for row in rows]
    shown = [template.render(row) for row in ([headings] if heading else []) + safe]
    cells = [text.removesuffix("\n").split("\t") for text in shown]
    width = max(map(len, cells), default=0)  # a template may give some rows fewer columns
    if cells:
        print_columns([row + [""] * (width - len(row)) for row in cells], narrowest=_NARROWEST)


def _on_one_line(value: Any) -> Any:
    """Return a value without tabs and newlines: a command may be a stranger's, and is one cell."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, list):
        return [_on_one_line(item) for item in value]
    if isinstance(value, dict):
        return {escaped(name): _on_one_line(value[name]) for name in value}
    return value
