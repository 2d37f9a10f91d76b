"""The source as a whole: no circle of imports, and one tree of errors."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from sundog import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2] / "src"
VERSION = "__version__"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def modules() -> dict[str, ast.Module]:
    """Parse our modules, by name."""
    paths = (ROOT / "sundog").rglob("*.py")
    return {module_name(path): ast.parse(path.read_bytes(), path) for path in paths}


def imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each import, in functions and for type checkers, too: a module, and a name in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert node.level == 0, "relative imports are not looked at"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield (inside, "") if inside in modules() else (node.module, alias.name)


def test_the_package_itself_gives_our_modules_its_version_only() -> None:
    """It names the functions of the API, which lie above all: no module may use them through it."""
    for name, tree in modules().items():
        if name != "sundog":
            taken = {inside for module, inside in imported(tree) if module == "sundog"}
            assert taken <= {VERSION}, name


def test_no_circle_of_imports() -> None:
    """Nor one through imports in functions, or for type checkers."""
    graph = {
        name: {module for module, _ in imported(tree) if module in modules()} - {name, "sundog"}
        for name, tree in modules().items()
        if name != "sundog"
    }
    assert sum(map(len, graph.values())) > len(graph)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" imports ".join(reversed(error.args[1]))) from None


def test_all_errors_for_users_stand_in_one_tree() -> None:
    shown = (errors.__doc__ or "").split()
    bases = {
        node.name: (name, {base.id for base in node.bases if isinstance(base, ast.Name)})
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {"SundogError"}
    while more := {name for name, (_, kinds) in bases.items() if kinds & found} - found:
        found |= more
    assert len(found) > 30
    for name in found:
        assert bases[name][0] == "sundog.errors", name
        assert name in shown, name
