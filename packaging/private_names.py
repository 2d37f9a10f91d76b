"""Give the private names of a module a meaning of their own, so that modules can be joined.

A private name begins with one underscore, and its module binds it at the top level by no import.
Only what resolves to the top level is renamed, as the reference of Python says in "Naming and
binding": no variable, parameter or attribute of the same name, no keyword of a call, no string.
"""

import ast
from collections.abc import Iterable, Mapping

# The fields of nodes that hold a name of their scope.
FIELDS = {
    ast.Name: "id",
    ast.FunctionDef: "name",
    ast.AsyncFunctionDef: "name",
    ast.ClassDef: "name",
    ast.ExceptHandler: "name",
    ast.MatchAs: "name",
    ast.MatchStar: "name",
    ast.MatchMapping: "rest",
}
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
NONE: frozenset[str] = frozenset()


def rename_private(tree: ast.Module, module: str) -> None:
    """Rename the private names of ``tree``, the module whose name is ``module``."""
    top = Scope(tree.body)
    by_functions = [each.names for each in ast.walk(tree) if isinstance(each, ast.Global)]
    bound = top.bound.union(*by_functions) - top.imported
    end = module.partition(".")[2].replace(".", "_")
    rename(tree, {name: f"{name}__{end}" for name in bound if is_private(name)})


def is_private(name: str) -> bool:
    """Tell whether a name of the top level is private; ``_`` alone names what nobody uses."""
    return name.startswith("_") and not name.startswith("__") and name != "_"


class Scope:
    """The names that a scope binds, those of them that an import binds, and the global ones."""

    def __init__(self, nodes: Iterable[ast.AST]) -> None:
        self.bound: set[str] = set()
        self.imported: set[str] = set()
        self.declared: set[str] = set()
        left = [*nodes]
        while left:
            node = left.pop()
            self._note(node)
            left += parts(node)[0]
        self.bound |= self.imported

    def _note(self, node: ast.AST) -> None:
        if isinstance(node, ast.Global):
            self.declared.update(node.names)
        elif isinstance(node, ast.alias):
            self.imported.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.arg):
            self.bound.add(node.arg)
        elif isinstance(node, Comprehension):  # it assigns in the scope around it
            inside = [each.target for each in ast.walk(node) if isinstance(each, ast.NamedExpr)]
            self.bound.update(target.id for target in inside)
        elif type(node) in FIELDS and not isinstance(getattr(node, "ctx", None), ast.Load):
            self.bound.add(getattr(node, FIELDS[type(node)]) or "_")  # a pattern may bind none


def parts(node: ast.AST) -> tuple[list[ast.AST], list[ast.AST]]:
    """Return the parts of a node that are in the scope around it, and those that make a new one."""
    outer = [*ast.iter_child_nodes(node)]
    inner: list[ast.AST] = []
    if isinstance(node, Function):
        given = [*ast.iter_child_nodes(node.args)]
        outer.remove(node.args)
        outer += [each for each in given if not isinstance(each, ast.arg)]  # defaults
        inner = [each for each in given if isinstance(each, ast.arg)]
        inner += [node.body] if isinstance(node, ast.Lambda) else node.body
    elif isinstance(node, ast.ClassDef):
        inner = [*node.body]
    elif isinstance(node, Comprehension):
        first = node.generators[0]
        inner = [first.target, *first.ifs, *(each for each in outer if each is not first)]
        outer = [first.iter]
    return [each for each in outer if each not in inner], inner


def rename(
    node: ast.AST,
    names: Mapping[str, str],
    hidden: frozenset[str] = NONE,
    by_functions: frozenset[str] = NONE,
) -> None:
    """Rename ``names`` in ``node``, but no ``hidden`` ones: those have another meaning there.

    ``by_functions`` are those that functions of a class in ``node`` can't see, either.
    """
    field = FIELDS.get(type(node))
    if field and (name := getattr(node, field)) not in hidden:
        setattr(node, field, names.get(name, name))
    elif isinstance(node, ast.Global):
        node.names = [names.get(name, name) for name in node.names]
    outer, inner = parts(node)
    for part in outer:
        rename(part, names, hidden, by_functions)
    if not inner:
        return
    is_comprehension = isinstance(node, Comprehension)
    scope = Scope([each.target for each in node.generators] if is_comprehension else inner)
    hidden = (by_functions | scope.bound) - scope.declared
    for part in inner:
        rename(part, names, hidden, by_functions if isinstance(node, ast.ClassDef) else hidden)
