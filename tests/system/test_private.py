"""Private names: a name of base or runtime that no other file uses begins with an underscore."""

import re
from pathlib import Path

from scripts.place import CHECKOUT

_USERS = ("src", "tests", "bench", "scripts", "packaging")
_IMPORT = re.compile(r"\bfrom (sundog[\w.]*) import (?:\(([^)]*)\)|([^\n#]*))")
_MENTION = re.compile(r"\bsundog(?:\.\w+)+")
_TYPES = re.compile(r"^if TYPE_CHECKING:.*\n((?:    .*\n|\n)+)", re.MULTILINE)
# A function or a class, or what a statement assigns to.
_TOP = r"^(?:(?:async )?def|class) (\w+)|^{}(\w+(?:, \w+)*)(?:: [^=\n]+)? = "
_DEFINED, _ALIAS = (re.compile(_TOP.format(indent), re.MULTILINE) for indent in ("", "    "))


class _Sources:
    """The files of the checkout, and which names of our modules each uses."""

    def __init__(self) -> None:
        places = [CHECKOUT / "hatch_build.py"]
        places += [path for name in _USERS for path in (CHECKOUT / name).rglob("*.py")]
        self.texts = {path: path.read_text("utf-8") for path in places}
        self.modules = {_dotted(path): path for path in places if _is_source(path)}
        self.imported = {module: set[str]() for module in self.modules}
        self.mentioned = {module: set[str]() for module in self.modules}
        for path in places:
            self._note(path)

    def _note(self, path: Path) -> None:
        """Note what a file imports; any word of it may be a name of a module that it mentions."""
        text = self.texts[path]
        mentioned: set[str] = set()
        for module, *lists in _IMPORT.findall(text):
            names = re.findall(r"(\w+)(?: as \w+)?", re.sub(r"#.*", "", "".join(lists)))
            mentioned.update(f"{module}.{name}" for name in names)
            self.imported.get(module, set()).update(names)
        for found in _MENTION.findall(_IMPORT.sub("", text)):
            mentioned |= {found, found.rpartition(".")[0]}  # a module, or a name in one
        own = {_dotted(path)} if _is_source(path) else set()
        words = set(re.findall(r"\w+", text))
        for module in (mentioned & self.modules.keys()) - own:
            self.mentioned[module] |= words

    def defined(self, module: str) -> list[str]:
        """Return the names of the top level, and those that only the type checker sees."""
        text = self.texts[self.modules[module]]
        found = _DEFINED.findall(text)
        for block in _TYPES.findall(text):
            found += _ALIAS.findall(block)
        return [name for one, more in found for name in (one or more).split(", ")]


def _is_source(path: Path) -> bool:
    return path.is_relative_to(CHECKOUT / "src")


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(CHECKOUT / "src").with_suffix("").parts).removesuffix(
        ".__init__"
    )


def test_names_of_one_module_are_private() -> None:
    sources = _Sources()
    alone, shared = set(), set()
    for module in sources.modules:
        if not module.startswith(("sundog.base.", "sundog.runtime.")):
            continue
        for name in sources.defined(module):
            imported = name in sources.imported[module]
            if name == "TYPE_CHECKING":
                continue
            if name.startswith("_"):
                shared |= {(module, name)} if imported else set()
            elif not imported and name not in sources.mentioned[module]:
                alone.add((module, name))
    assert sorted(alone) == []  # give these an underscore
    assert sorted(shared) == []  # and take it from these
