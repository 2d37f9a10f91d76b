"""--format of ``sundog``: rows by a Go template, in a table or in lines."""

from __future__ import annotations

from sundog.front.cli.output import print_columns, print_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sundog.front.podman.template_values import Structure
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
    shown = [template.render(row) for row in ([headings] if heading else []) + list(rows)]
    cells = [text.removesuffix("\n").split("\t") for text in shown]
    if cells:
        print_columns(cells, narrowest=_NARROWEST)
