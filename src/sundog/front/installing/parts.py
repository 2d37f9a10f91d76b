"""The files of this installation, and of the packages that it needs.

Specification: "Recording installed projects" of the Python packaging user guide: ``RECORD`` lists
the files of a package, relative to the directory of packages.
"""

from __future__ import annotations

import operator
import os
import re
import sys
from dataclasses import dataclass
from importlib.metadata import Distribution

from sundog.base.installation import COMMANDS
from sundog.errors import SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Below the tree of an architecture.
PACKAGES = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
_HINT = (
    "install Sundog by pip or uv into a virtual environment, and run its command: docs/install.md"
)
# The byte code is made anew; the last one names the place from which this was installed.
_LEFT_OUT = ("/__pycache__/", ".pyc", "/direct_url.json")
_COMPARED: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Part:
    """A file: its path now, and its path below the tree of an architecture."""

    source: str
    place: str


def parts() -> list[Part]:
    """Return the files of this installation and of what it needs; raise SundogError."""
    packages = os.path.abspath(__file__).rpartition("/sundog/")[0]
    if not os.path.exists(f"{packages}/sundog/runtime/launcher/ch_run.py"):
        raise SundogError("this Sundog is a checkout, which has not all files", _HINT)
    found = {}
    for package in _needed([packages, *_site_directories()]):
        for part in _of(package):
            found[part.place] = part
    lacking = [name for name in COMMANDS if f"bin/{name}" not in found]
    if lacking:  # pip install --target
        raise SundogError(f"no RECORD says where {lacking[0]} is", _HINT)
    return list(found.values())


def _site_directories() -> list[str]:
    """Return where the interpreter looks for packages; ``-S`` has left these directories out."""
    import site

    return [*sys.path, *site.getsitepackages()]


def _needed(path: list[str]) -> Iterator[Distribution]:
    """Give Sundog and the packages that it needs, from ``path``; raise SundogError."""
    waiting, seen = ["sundog"], set()
    while waiting:
        name = waiting.pop()
        if _normal(name) in seen:
            continue
        seen.add(_normal(name))
        package = next(iter(Distribution.discover(name=name, path=path)), None)
        if package is None:
            raise SundogError(f"the package {name} is not installed", _HINT)
        yield package
        for line in package.requires or ():
            wanted, _, marker = line.partition(";")
            match = re.match(r"[\w.-]+", wanted)
            # An extra of Sundog's counts if it is installed; one of others is nothing to us.
            if match is None or ("extra" in marker and name != "sundog"):
                continue
            here = any(Distribution.discover(name=match[0], path=path))
            if here or _is_for_here(marker):
                waiting.append(match[0])


def _is_for_here(marker: str) -> bool:
    """Tell whether a package that is not here should be, as far as the marker can be read.

    Specification: "Dependency specifiers" of the guide.  This reads what build backends write for a
    version of Python alone; without such a package, what is copied would not start.
    """
    if not marker.strip():
        return True
    match = re.fullmatch(
        r"""\s*python(?:_full)?_version\s*(<=?|>=?|==|!=)\s*['"]([\d.]+)['"]\s*""", marker
    )
    if match is None:
        return False
    wanted = tuple(int(part) for part in match[2].split(".") if part)
    here = sys.version_info[:3][: len(wanted)]
    return _COMPARED[match[1]](here, wanted)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _of(package: Distribution) -> Iterator[Part]:
    """Give the files of a package that are to be copied; raise SundogError."""
    base = os.path.normpath(str(package.locate_file("")))
    prefix = os.path.normpath(f"{base}/../../..")
    if package.files is None:
        raise SundogError(f"nothing says which files {package.name} has: it has no RECORD", _HINT)
    for file in package.files:
        path = os.path.normpath(f"{base}/{file}")
        place = _place(path, base, prefix)
        if not place or any(part in path for part in _LEFT_OUT):
            continue
        if not os.path.isfile(path):
            raise SundogError(f"a file of {package.name} is not there: {path}", _HINT)
        yield Part(path, place)


def _place(path: str, base: str, prefix: str) -> str:
    """Return the place of a file in the tree, "" if nobody needs it there."""
    if path.startswith(f"{base}/"):
        return f"{PACKAGES}/{path[len(base) + 1 :]}"
    if path.startswith(f"{prefix}/share/"):
        return path[len(prefix) + 1 :]
    name = os.path.basename(path)
    # Programs of other packages have the path of an interpreter in them.
    return f"bin/{name}" if path == f"{prefix}/bin/{name}" and name in COMMANDS else ""
