"""Join the modules of ``ch-run`` into one module for the wheel; those of rare options into others.

The server that the compiled ``ch-run`` starts is a joined module, too, and so are
``sundog-fakeroot``, and what ``sundog run`` and ``sundog apptainer`` are made of.

Why: every MPI rank starts a ``ch-run``.  Each module costs the interpreter about five look-ups of
paths and an open.  On a cluster's file system these are requests to one metadata server.

The modules of ``base`` and ``runtime`` keep three rules that make this possible.  This program
checks them:

* A module imports our own names by ``from sundog.… import name``, without ``as``, and no private
  ones.
* No public name has two meanings at the top level of the modules.
* A module imports ``os`` as a whole.

A function imports our own names only if few starts need them.  Such an import names the entry of an
addition, and ``add`` then runs the addition in the namespace of the first joined module.  An
addition contains only the statements that the first joined module lacks.  Where a function imports
the entry itself, ``hold`` reads the addition, so that ``add`` has it when the root is another.  A
program of its own has at its top what its functions import.

An import from ``sundog.base.cpython`` becomes one from the private module that has the name.

A private name, ``_x``, belongs to its module: in a joined module it is ``_x__`` and the module.

A joined module has no docstrings, no annotations, no code for type checkers, no other imports of
ours, and no definitions that nothing uses.  ``os.name`` becomes ``posix.name`` if both are the same
object, because the import of ``os`` takes a millisecond.  The other names of ``os`` are needed only
for error messages, and the joined module imports ``os`` at that place.
"""

import ast
import os
import posix
import runpy
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

sys.path.append(str(Path(__file__).parent))  # the wheel's build loads this file alone
from private_names import is_private, rename_private

Block = TypeVar("Block", ast.Module, ast.ClassDef, ast.FunctionDef)


@dataclass(frozen=True)
class Joined:
    """A joined module.

    ``entry`` is the module that it is made from.  ``end`` is its last statement; the joined module
    keeps the definitions that this statement needs.  ``is_addition`` says that it runs in the
    namespace of the first joined module, and lacks what that one has, and what the addition
    ``after`` which it comes has.
    """

    entry: str
    end: str
    is_addition: bool = True
    after: str = ""


# To import an extension module, Python lists each directory of sys.path and tries many suffixes.
# If ``_ctypes`` is a file, it is in the last directory and has the first suffix.
PRELUDE = """
import sys
import _imp
import _frozen_importlib_external as loaders
from _frozen_importlib import ModuleSpec

added, held = [], {}

def loader_of(name):
    directory, _, _ = sys._getframe().f_code.co_filename.rpartition("/")
    return loaders.SourceFileLoader(name, f"{directory}/{name}.py")

def hold(name):
    loader = loader_of(name)
    stats = loader.path_stats(loader.path)
    head = loaders.MAGIC_NUMBER + bytes(4)
    for key in ("mtime", "size"):
        head += (int(stats[key]) & 0xFFFFFFFF).to_bytes(4, "little")
    try:
        data = loader.get_data(loaders.cache_from_source(loader.path))
    except OSError:
        data = b""
    held[name] = data if data.startswith(head) else loader.get_code(name)

def add(name):
    if name in added:
        return
    added.append(name)
    code = held.pop(name, None)
    if code is None:
        code = loader_of(name).get_code(name)
    elif isinstance(code, bytes):
        code = loaders.marshal.loads(memoryview(code)[len(loaders.MAGIC_NUMBER) + 12:])
    exec(code, globals())

def preload_extension(name):
    if name in sys.modules:
        return
    path = f"{sys.path[-1]}/{name}{_imp.extension_suffixes()[0]}"
    try:
        module = _imp.create_dynamic(ModuleSpec(name, None, origin=path))
        _imp.exec_dynamic(module)
    except ImportError:
        return
    sys.modules[name] = module

preload_extension("_ctypes")
"""

# The joined modules by their names in ``sundog.runtime.launcher``: the first, its additions, and
# programs of their own.
FIRST = "ch_run"
MODULES = {
    FIRST: Joined(
        "sundog.runtime.launcher.main",
        "start_from_stub() if __name__ == '__main__' else start_within",
        is_addition=False,
    ),
    "ch_run_feature": Joined("sundog.runtime.launcher.feature", "feature_status"),
    "ch_run_notify": Joined("sundog.runtime.launcher.notify", "attendant_for"),
    "ch_run_answering": Joined(
        "sundog.runtime.supervision.answering", "answered", after="ch_run_notify"
    ),
    "ch_run_rare": Joined(
        "sundog.runtime.emulation.notify.handlers.rare",
        "RareHandlers",
        after="ch_run_answering",
    ),
    "ch_run_copy": Joined("sundog.runtime.container.private_copy", "mount_copy"),
    "ch_run_files": Joined("sundog.runtime.launcher.file_server", "ServedSources, shown_image"),
    "ch_run_squashfs": Joined("sundog.runtime.container.squashfs_files", "opened_files"),
    "ch_run_server": Joined("sundog.runtime.fuse.server", "ImageServer"),
    "ch_run_lazy": Joined("sundog.runtime.fuse.lazy_blob", "LazyBlob", after="ch_run_server"),
    "ch_run_place": Joined("sundog.runtime.fuse.placed_blob", "PlacedBlob", after="ch_run_server"),
    "ch_run_join": Joined("sundog.runtime.launcher.join", "group_for"),
    "ch_run_ender": Joined("sundog.runtime.launcher.ender", "start_group_ender"),
    "ch_run_foreign": Joined("sundog.runtime.container.binfmt", "opened_emulator"),
    "ch_run_overlay": Joined("sundog.runtime.container.overlay_directories", "overlaid_root"),
    "ch_run_own_devices": Joined("sundog.runtime.container.own_devices", "OwnDevices"),
    "ch_run_idle": Joined("sundog.runtime.launcher.idle", "Idle"),
    "ch_run_join_place": Joined("sundog.runtime.launcher.join_place", "JoinPlace"),
    "ch_run_devices": Joined("sundog.runtime.launcher.devices", "devices_for"),
    "ch_run_hooks": Joined("sundog.runtime.container.hooks", "run_hook"),
    "ch_run_yaml": Joined("sundog.runtime.cdi.yaml_text", "parse_yaml_text"),
    "ch_run_host_mpi": Joined("sundog.runtime.launcher.host_mpi_part", "HostMpiPart"),
    "ch_run_stored": Joined("sundog.base.record.stored_entry", "entry_for"),
    "ch_run_layout": Joined("sundog.runtime.launcher.layout", "use_layout"),
    "ch_run_configuration": Joined("sundog.base.configuration.files", "read_level"),
    "ch_run_log": Joined("sundog.runtime.launcher.logged", "StartLog"),
    "ch_run_pull": Joined("sundog.runtime.launcher.lazy_image", "pull_image"),
    "ch_run_shared": Joined("sundog.runtime.launcher.shared_image", "find_shared"),
    "ch_run_verified": Joined(
        "sundog.runtime.container.verified_layers", "verify", after="ch_run_shared"
    ),
    "ch_run_shared_sources": Joined(
        "sundog.runtime.launcher.shared_sources", "SharedSources", after="ch_run_files"
    ),
    "sundog_fakeroot": Joined(
        "sundog.runtime.fakeroot.command", "start_from_stub()", is_addition=False
    ),
    "ch_run_fuse": Joined("sundog.runtime.fuse.program", "serve_one()", is_addition=False),
    "ch_run_layers": Joined(
        "sundog.runtime.fuse.layer_program",
        "preload_extension('mmap'); serve_layers()",
        is_addition=False,
    ),
    "ch_run_shared_layers": Joined(
        "sundog.runtime.launcher.shared_program",
        "preload_extension('mmap'); serve_shared()",
        is_addition=False,
    ),
}
# The joined modules of ``sundog run`` and of ``sundog apptainer``, and the modules with which each
# begins.  ``sundog`` loads one of them: sundog.start.
FRONTS = {
    "sundog.front.cli.sundog_joined": ("sundog.front.cli.sundog", "sundog.front.cli.sundog_run"),
    "sundog.front.cli.apptainer_joined": (
        "sundog.front.cli.sundog",
        "sundog.front.cli.sundog_apptainer",
    ),
}
# The joined module of the common start of ``sundog apptainer``, and what it is made of.  It runs in
# a copy of the launcher's namespace: ``packaging/start``.  The last one is imported by functions.
START = "sundog.front.cli.apptainer_start"
START_ENTRIES = ("sundog.front.cli.apptainer_exec", "sundog.base.kernel.process")
ADDITIONS = {joined.entry: name for name, joined in MODULES.items() if joined.is_addition}

# The module whose names are those of other modules, by its table.
CPYTHON = "sundog.base.cpython"

# The join removes this name and the statements under ``if TYPE_CHECKING:``.
TYPE_CHECKING = "TYPE_CHECKING"


class JoinError(Exception):
    """A module breaks one of the three rules."""


class Statement:
    """A top-level statement of a joined module.

    text     its source
    defines  the names that it defines
    uses     the names in it
    """

    def __init__(self, node: ast.stmt) -> None:
        self.node = node
        self.text = ast.unparse(ast.fix_missing_locations(node))
        self.defines = frozenset(defined_names(node))
        self.uses = frozenset(each.id for each in ast.walk(node) if isinstance(each, ast.Name))

    def bound_names(self, module: str) -> list[tuple[str, str]]:
        """Return the names that this statement of ``module`` binds, with their meanings.

        An import or a constant has the same meaning in every module.
        """
        node = self.node
        if isinstance(node, ast.Import | ast.ImportFrom):
            source = node.module if isinstance(node, ast.ImportFrom) else ""
            return [(each.asname or each.name, f"{source} {each.name}") for each in node.names]
        meaning = self.text if is_repeatable(node) else module
        return [(name, meaning) for name in self.defines]


def join(source: Path, name: str) -> str:
    """Return the text of the joined module ``name``, made from the packages in ``source``.

    ``source`` must not change while this process runs: modules are read once.
    """
    body = joined_body(source, name)
    there = {each.text for before in earlier(name) for each in joined_body(source, before)}
    body = [statement for statement in body if statement.text not in there]
    return ast.unparse(ast.Module([statement.node for statement in body], [])) + "\n"


def earlier(name: str) -> list[str]:
    """Return the names of the joined modules in whose namespace ``name`` runs, in their order."""
    joined = MODULES[name]
    if not joined.is_addition:
        return []
    return [*earlier(joined.after), joined.after] if joined.after else [FIRST]


@cache
def joined_body(source: Path, name: str) -> list[Statement]:
    """Return all statements that ``name`` needs; an addition includes those of ``earlier`` ones."""
    body = parsed(PRELUDE)
    there = {statement.text for statement in body}
    meanings = {
        bound: (meaning, "the prelude")
        for statement in body
        for bound, meaning in statement.bound_names("the prelude")
    }
    is_alone = name != FIRST and not MODULES[name].is_addition
    entries = [MODULES[each].entry for each in (*earlier(name), name)]
    for module in ordered_modules(source, *entries, is_alone=is_alone):
        for statement in statements(source, module, is_alone=is_alone):
            note_meanings(statement, module, meanings)
            if statement.text not in there or not is_repeatable(statement.node):
                there.add(statement.text)
                body.append(statement)
    return needed(body + parsed(MODULES[name].end))


def note_meanings(statement: Statement, module: str, meanings: dict[str, tuple[str, str]]) -> None:
    """Note the meanings of the names that a statement binds; raise JoinError for a second one."""
    for bound, meaning in statement.bound_names(module):
        before, other = meanings.setdefault(bound, (meaning, module))
        if before != meaning:
            raise JoinError(f"{bound} is defined in {other} and in {module}")


def join_front(source: Path, name: str) -> str:
    """Return the text of the module ``name`` of FRONTS.

    It keeps all definitions, because it stands for its modules: ``sundog.start`` lets later imports
    of STANDS_FOR find them here.  So each class exists once.  It stands for no package.
    """
    modules = [each for each in ordered_modules(source, *FRONTS[name]) if each != "sundog"]
    meanings: dict[str, tuple[str, str]] = {}
    body = parsed("OWN_NAME = __name__")
    for module in modules:
        body += parsed(f"__name__ = {module!r}")  # the module of its classes
        for node in LeaveOutOfFront(modules).visit(parse_module(source, module)).body:
            statement = Statement(node)
            note_meanings(statement, module, meanings)
            body.append(statement)
    body += parsed(f"__name__ = OWN_NAME\nSTANDS_FOR = {modules!r}")
    return ast.unparse(ast.Module([statement.node for statement in body], [])) + "\n"


def join_start(source: Path) -> str:
    """Return the text of the module START, without the statements that the launcher has.

    It may define a name of the launcher anew, if no statement here needs that one.
    """
    there = {each.text for each in joined_body(source, FIRST)}
    shared = set(ordered_modules(source, MODULES[FIRST].entry))
    modules = ordered_modules(source, *START_ENTRIES)
    own = [each for each in modules if each not in shared]
    meanings: dict[str, tuple[str, str]] = {}
    homes: dict[Statement, str] = {}
    for module in (*own, *(each for each in modules if each in shared)):
        left_out = LeaveOutOfStart(modules) if module in own else LeaveOut()
        for node in left_out.visit(parse_module(source, module)).body:
            statement = Statement(node)
            is_hidden = module in shared and not meanings.keys().isdisjoint(statement.defines)
            if statement.text in there or is_hidden:
                continue
            if module in own:
                note_meanings(statement, module, meanings)
            homes[statement] = module
    order = {module: number for number, module in enumerate(modules)}
    body = sorted(homes, key=lambda each: order[homes[each]])
    body = needed([*body, *parsed("start")])
    owners = {name: homes[each] for each in body for name in each.defines}
    for module in {homes[each] for each in body if each in homes}:
        for name, home in bound_homes(source, module).items():
            if owners.get(name, home) != home:
                raise JoinError(f"{module} needs {name} of {home}, and {owners[name]} defines it")
    return ast.unparse(ast.Module([statement.node for statement in body], [])) + "\n"


def bound_homes(source: Path, module: str) -> dict[str, str]:
    """Return the modules of ours to which the names at the top level of ``module`` belong."""
    found: dict[str, str] = {}
    for node in parse_module(source, module).body:
        if isinstance(node, ast.ImportFrom) and is_ours(node.module):
            found |= dict.fromkeys([each.name for each in node.names], str(node.module))
        found |= dict.fromkeys(defined_names(node), module)
    return found


def parsed(text: str) -> list[Statement]:
    """Return the statements of ``text``."""
    return [Statement(node) for node in ast.parse(text).body]


@cache
def statements(source: Path, module: str, *, is_alone: bool) -> list[Statement]:
    """Return what joined modules take from ``module``; ``is_alone`` is as for ``LeaveOut``."""
    left = LeaveOut(is_alone=is_alone).visit(parse_module(source, module))
    return [Statement(node) for node in left.body]


def is_repeatable(statement: ast.stmt) -> bool:
    """Tell whether a repetition of a statement has no effect: an import or a constant."""
    if isinstance(statement, ast.Assign):
        return isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Import | ast.ImportFrom)


def needed(body: list[Statement]) -> list[Statement]:
    """Return ``body`` without the functions, classes and constants that it does not use."""
    wanted: set[str] = set()
    left = body
    while True:
        found = [each for each in left if not each.defines or each.defines & wanted]
        if not found:
            break
        left = [each for each in left if each.defines and not each.defines & wanted]
        wanted.update(*(each.uses for each in found))
    unused = set(left)
    return [each for each in body if each not in unused]


def ordered_modules(source: Path, *names: str, is_alone: bool = False) -> list[str]:
    """Return the names of ``names`` and of our modules that they import, dependencies first.

    ``is_alone`` is as for ``LeaveOut``.
    """
    modules: list[str] = []
    begun: set[str] = set()

    def load(name: str) -> None:
        if name not in begun:
            begun.add(name)
            for imported in our_imports(source, name, is_alone=is_alone):
                load(imported)
            modules.append(name)

    for name in names:
        load(name)
    return modules


@cache
def our_imports(source: Path, name: str, *, is_alone: bool) -> list[str]:
    """Return the names of our modules that the module ``name`` imports at its top level.

    ``is_alone`` is as for ``LeaveOut``: then the imports in functions count as well.
    """
    found = []
    tree = parse_module(source, name)
    if is_alone:
        inner = [each for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)]
        found = [each.module for each in inner if each.module in ADDITIONS]
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and is_ours(node.module):
            if node.level or any(each.asname or is_private(each.name) for each in node.names):
                raise JoinError(f"{name}: {ast.unparse(node)}")
            found.append(str(node.module))
        elif isinstance(node, ast.Import) and any(is_ours(alias.name) for alias in node.names):
            raise JoinError(f"{name}: {ast.unparse(node)}")
    return found


def parse_module(source: Path, name: str) -> ast.Module:
    """Return the module ``name`` of ``source``, without the code for type checkers.

    Its private names are those of a joined module.  The tree is the caller's own.
    """
    return ast.parse(prepared_text(source, name))


@cache
def prepared_text(source: Path, name: str) -> str:
    """Return the text of which ``parse_module`` makes a tree: to parse is cheap, to rename not."""
    path = source.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    tree.body = [statement for statement in tree.body if not is_for_types(statement)]
    rename_private(tree, name)
    return ast.unparse(Direct(source).visit(tree))


@cache
def homes(source: Path) -> dict[str, str]:
    """Return the private modules of Python from which our modules import, by the names in them."""
    table = runpy.run_path(str(source.joinpath(*CPYTHON.split(".")).with_suffix(".py")))["NAMES"]
    return {name: module for module, names in table.items() for name in names.split()}


class Direct(ast.NodeTransformer):
    """Import a name of Python's private modules from its module."""

    def __init__(self, source: Path) -> None:
        self.source = source

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | list[ast.stmt]:
        """Make one import for each module."""
        if node.module != CPYTHON:
            return node
        found: dict[str, list[ast.alias]] = {}
        for alias in node.names:
            found.setdefault(homes(self.source)[alias.name], []).append(alias)
        return [ast.ImportFrom(module, names, 0) for module, names in found.items()]


def is_ours(module: str | None) -> bool:
    """Tell whether ``module`` belongs to Sundog."""
    return module is not None and (module + ".").startswith("sundog.")


def is_for_types(statement: ast.stmt) -> bool:
    """Tell whether a statement is ``TYPE_CHECKING = False`` or ``if TYPE_CHECKING: …``."""
    if isinstance(statement, ast.Assign):
        return ast.unparse(statement.targets[0]) == TYPE_CHECKING
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == TYPE_CHECKING


def defined_names(statement: ast.stmt) -> list[str]:
    """Return the names that a top-level statement defines; an import defines none."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if not isinstance(statement, ast.Assign):
        return []
    targets = [node for target in statement.targets for node in ast.walk(target)]
    return [node.id for node in targets if isinstance(node, ast.Name)]


class LeaveOut(ast.NodeTransformer):
    """Remove what a joined module does not need, and replace ``os`` by ``posix``.

    ``is_alone`` tells that the module is a program that has no additions.
    """

    def __init__(self, *, is_alone: bool = False) -> None:
        self.in_function = False
        self.is_alone = is_alone

    def visit_Module(self, node: ast.Module) -> ast.Module:
        """Drop the docstring."""
        return self.without_docstring(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        """Drop the docstring."""
        return self.without_docstring(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """Drop the docstring and the annotation of the return value."""
        node.returns = None
        outer, self.in_function = self.in_function, True
        node = self.without_docstring(node)
        self.in_function = outer
        return node

    def without_docstring(self, node: Block) -> Block:
        """Remove the docstring of ``node``, and transform its body."""
        if ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        """Drop the annotation of a parameter."""
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt | None:
        """Drop the annotation of a variable; drop the whole statement if it has no value."""
        self.generic_visit(node)
        return ast.Assign([node.target], node.value) if node.value else None

    def visit_Import(self, node: ast.Import) -> ast.Import:
        """Import ``posix`` instead of ``os``."""
        if node.names[0].name == "os":
            return ast.Import([ast.alias("posix")])
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | None:
        """Drop our own imports at the top level; in a function, add the addition instead."""
        whole = f"{node.module}.{node.names[0].name}"
        for entry, function in ((node.module, "add"), (whole, "hold")):
            if self.in_function and entry in ADDITIONS:
                if self.is_alone:
                    return ast.Pass()
                return ast.parse(f"{function}({ADDITIONS[entry]!r})").body[0]
        if self.in_function and is_ours(node.module):
            raise JoinError(f"no addition begins there: {ast.unparse(node)}")
        if node.module == "os":
            raise JoinError(f"import the module os as a whole: {ast.unparse(node)}")
        return None if is_ours(node.module) or node.module == "__future__" else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """Take a name from ``posix`` if ``os`` has the same object."""
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id == "os":
            same = hasattr(posix, node.attr) and getattr(posix, node.attr) is getattr(os, node.attr)
            node.value = ast.parse("posix" if same else "__import__('os')", mode="eval").body
        return node


class LeaveOutOfFront(LeaveOut):
    """Remove what a joined module of FRONTS, which is made of ``modules``, does not need."""

    def __init__(self, modules: list[str]) -> None:
        super().__init__()
        self.modules = modules

    def visit_Import(self, node: ast.Import) -> ast.Import:
        """Keep ``os``: the modules of ``front`` need it."""
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | None:
        """Keep imports in functions, which few starts need, and those of other modules."""
        is_other = is_ours(node.module) and node.module not in self.modules
        return node if self.in_function or is_other else super().visit_ImportFrom(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """Keep the names of ``os``."""
        self.generic_visit(node)
        return node


class LeaveOutOfStart(LeaveOut):
    """Remove what the module START, which is made of ``modules``, does not need."""

    def __init__(self, modules: list[str]) -> None:
        super().__init__()
        self.modules = modules

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | list[ast.stmt] | None:
        """Take a name from an addition of the launcher; a start that needs more is not common."""
        if not self.in_function or not is_ours(node.module):
            return super().visit_ImportFrom(node)
        if node.module in self.modules:
            return ast.Pass()
        if node.module not in ADDITIONS:
            return ast.parse(f"raise NotImplementedError({node.module!r})").body
        names = [f"{each.name} = add.__globals__[{each.name!r}]" for each in node.names]
        return ast.parse("\n".join([f"add({ADDITIONS[node.module]!r})", *names])).body


if __name__ == "__main__":
    sys.stdout.write(join(Path(sys.argv[1]), sys.argv[2]))
