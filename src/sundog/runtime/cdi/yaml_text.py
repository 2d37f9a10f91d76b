"""YAML text to values: plain ones, as JSON has them, and only so many.

Most files are as generators write them; ``yaml_blocks`` reads these.  PyYAML reads the others.  Its
import takes tens of milliseconds, so it is imported only then.  This module takes events from it,
because events need no recursion and make no objects that a tag names.

Aliases count as what they stand for.  So a small text can't stand for a huge value.

Specification: YAML 1.1 without sets, merges and other tags; names are unique.
"""

from __future__ import annotations

import sys

from sundog.runtime.cdi.names import shortened
from sundog.runtime.cdi.yaml_blocks import NotBlocks, parse_blocks
from sundog.runtime.cdi.yaml_faults import NoYamlLibrary, YamlFault
from sundog.runtime.cdi.yaml_scalar import plain_scalar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType
    from typing import Any

_YAML_LEVELS_LIMIT = 32
YAML_VALUES_LIMIT = 200_000
_STRING_TAGS = ("!", "tag:yaml.org,2002:str")
_COLLECTION_TAGS = ("!", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map")


def parse_yaml_text(text: str) -> object:
    """Return the value of the only document in ``text``.

    Raises YamlFault, and NoYamlLibrary if the text needs the library and it is not there.
    """
    try:
        return parse_blocks(text)
    except NotBlocks:
        return parse_by_library(text)


def parse_by_library(text: str) -> object:
    """Do the same with PyYAML alone."""
    library = _load_yaml_library()
    loader = getattr(library, "CSafeLoader", library.SafeLoader)
    try:
        return _value_of_events(library.parse(text, loader))
    except library.YAMLError as fault:
        raise YamlFault(_describe_fault(fault)) from None
    except (ValueError, OverflowError, RecursionError) as fault:  # an escape beyond Unicode, say
        raise YamlFault(str(fault)) from None


def _load_yaml_library() -> ModuleType:
    """Import PyYAML.  Raises NoYamlLibrary.

    The launcher starts without the directories of packages.  So this looks beside the package
    ``sundog``, and then in the interpreter's usual directories.
    """
    beside, _, _ = sys._getframe().f_code.co_filename.rpartition("/sundog/")
    before = list(sys.path)
    try:
        if beside and beside not in sys.path:
            sys.path.append(beside)
        try:
            return __import__("yaml")
        except ImportError:
            __import__("site").main()
            return __import__("yaml")
    except ImportError:
        raise NoYamlLibrary from None
    finally:
        sys.path[:] = before


def _describe_fault(fault: Exception) -> str:
    """Return the message of an error of PyYAML, with its place."""
    mark = getattr(fault, "problem_mark", None)
    problem = getattr(fault, "problem", None) or str(fault).partition("\n")[0]
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(problem)


class _OpenCollection:
    """A list or an object whose end has not come yet; ``size`` counts all values in it."""

    __slots__ = ("anchor", "key", "size", "value")

    def __init__(self, value: list[object] | dict[str, object], anchor: str | None) -> None:
        self.value = value
        self.anchor = anchor
        self.key: str | None = None
        self.size = 1


class _Composer:
    """Puts values together from events; ``root`` is the outermost collection, a list of one."""

    def __init__(self) -> None:
        self.root: list[object] = []
        self.levels = [_OpenCollection(self.root, None)]
        self.anchored: dict[str, tuple[object, int]] = {}

    def scalar(self, word: str, tag: str | None, anchor: str | None, *, is_plain: bool) -> None:
        """Add a scalar; as a key, it is always text."""
        top = self.levels[-1]
        if tag is not None and tag not in _STRING_TAGS:
            raise ValueError(f"the tag {tag} is not supported")
        is_key = isinstance(top.value, dict) and top.key is None
        value = plain_scalar(word) if is_plain and tag is None and not is_key else word
        self.add(value, 1, anchor)

    def begin(
        self, value: list[object] | dict[str, object], tag: str | None, anchor: str | None
    ) -> None:
        """Begin a list or an object."""
        if tag is not None and tag not in _COLLECTION_TAGS:
            raise ValueError(f"the tag {tag} is not supported")
        if len(self.levels) > _YAML_LEVELS_LIMIT:
            raise ValueError("nested too deeply")
        self.levels.append(_OpenCollection(value, anchor))

    def end(self) -> None:
        """End the innermost list or object, and add it to the one around it."""
        closed = self.levels.pop()
        self.add(closed.value, closed.size, closed.anchor)

    def alias(self, anchor: str) -> None:
        """Add what an anchor stands for."""
        if anchor not in self.anchored:
            raise ValueError(f"the alias {anchor} has no value yet")
        value, size = self.anchored[anchor]
        self.add(value, size, None)

    def add(self, value: object, size: int, anchor: str | None) -> None:
        """Add a value to the innermost collection, or take it as the next key."""
        top = self.levels[-1]
        top.size += size
        if top.size > YAML_VALUES_LIMIT:
            raise ValueError(f"more than {YAML_VALUES_LIMIT} values")
        if anchor is not None:
            self.anchored[anchor] = value, size
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is not None:
            top.value[top.key] = value
            top.key = None
        elif not isinstance(value, str):
            raise ValueError("a name is not text")
        elif value in top.value:
            raise ValueError(f"an object has two fields {shortened(value)}")
        else:
            top.key = value


def _value_of_events(events: Iterable[Any]) -> object:
    """Return the value that PyYAML's events of one document stand for.

    Raises YamlFault at the place of an event, and what the library raises.
    """
    composer = _Composer()
    documents = 0
    for event in events:
        kind = type(event).__name__
        anchor: str | None = getattr(event, "anchor", None)
        tag: str | None = getattr(event, "tag", None)
        try:
            if kind == "ScalarEvent":
                is_plain = event.style in (None, "")
                composer.scalar(event.value, tag, anchor, is_plain=is_plain)
            elif kind == "SequenceStartEvent":
                composer.begin([], tag, anchor)
            elif kind == "MappingStartEvent":
                composer.begin({}, tag, anchor)
            elif kind in ("SequenceEndEvent", "MappingEndEvent"):
                composer.end()
            elif kind == "AliasEvent":
                composer.alias(str(anchor))
            elif kind == "DocumentStartEvent":
                documents += 1
                if documents > 1:
                    raise ValueError("a second document begins")
        except ValueError as fault:
            mark = event.start_mark
            place = f"line {mark.line + 1}, column {mark.column + 1}"
            raise YamlFault(f"{place}: {fault}") from None
    return composer.root[0] if composer.root else None
