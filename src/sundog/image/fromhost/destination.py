"""The place in the image for a file of the host: --dest, else what its path tells."""

from __future__ import annotations

import os
from dataclasses import dataclass

from sundog.base.kernel.libc import printable
from sundog.errors import SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.image.fromhost.linker import Linker
    from sundog.image.fromhost.lists import Wanted
    from sundog.image.fromhost.tree import Tree

PROGRAMS = b"/usr/bin"
FABRIC = b"libfabric.so"
_PROVIDER = b"-fi.so"
_PROVIDERS = b"libfabric"  # the directory of providers, beside the library
_CXI = b"libcxi"
# The linker's configuration of an image that has a host's providers.
OFI_CONFIGURATION = b"etc/ld.so.conf.d/ch-ofi.conf"


@dataclass(frozen=True, slots=True)
class Placed:
    """The file ``source`` of the host goes to ``path`` of the image: resolved, as for ``Tree``."""

    source: bytes
    path: bytes


def is_library(path: bytes) -> bool:
    """Tell whether a path looks like that of a shared library."""
    return b"/lib" in path or b".so" in os.path.basename(path)


def is_program(path: bytes) -> bool:
    """Tell whether a path looks like that of a program."""
    return b"/bin" in path or b"/sbin" in path


def is_provider(path: bytes) -> bool:
    """Tell whether a path looks like that of a loadable provider of libfabric."""
    return path.endswith(_PROVIDER)


class Destinations:
    """Finds the places of files in an image.

    ``environment`` is the user's; ``linked`` are the host's libraries that a file needs, by path.
    """

    def __init__(
        self,
        tree: Tree,
        linker: Linker,
        environment: Mapping[str, str],
        linked: Mapping[bytes, Sequence[bytes]],
    ) -> None:
        self._tree = tree
        self._linker = linker
        self._environment = environment
        self._linked = linked

    def libraries(self) -> bytes:
        """Return the directory for shared libraries."""
        return self._linker.directories()[0]

    def fabric(self) -> bytes:
        """Return the path of the image's libfabric.  Raises SundogError."""
        found = [path for name, path in self._linker.libraries() if name.startswith(FABRIC)]
        if not found:
            raise SundogError(
                "libfabric.so not found in the image", "install libfabric in the image"
            )
        return sorted(found)[0]

    def providers(self) -> bytes:
        """Return the directory for providers of libfabric.  Raises SundogError."""
        if self._environment.get("FI_PROVIDER_PATH"):
            raise SundogError(
                "FI_PROVIDER_PATH is set: the destination of a provider can't be inferred",
                "name it by --dest, or unset the variable",
            )
        return os.path.join(os.path.dirname(self.fabric()), _PROVIDERS)

    def place(self, wanted: Wanted) -> list[Placed]:
        """Return the places of a file and of the libraries that go with it.  Raises SundogError."""
        if wanted.destination:
            return [self._in_directory(wanted.path, wanted.destination)]
        if os.path.basename(wanted.path).startswith(FABRIC) and self._uses_cxi(wanted.path):
            return [self._replacement(wanted.path), *self._missing(wanted.path)]
        if is_provider(wanted.path):
            directory = self.providers()
            self._tree_of(os.path.dirname(directory))
            return [self._in_directory(wanted.path, directory, makes=True)]
        if is_program(wanted.path):
            return [self._in_directory(wanted.path, PROGRAMS)]
        if is_library(wanted.path):
            return [self._in_directory(wanted.path, self.libraries())]
        raise SundogError(f"no destination for: {printable(wanted.path)}", "name it by --dest")

    def _uses_cxi(self, path: bytes) -> bool:
        return any(
            os.path.basename(library).startswith(_CXI) for library in self._linked.get(path, ())
        )

    def _replacement(self, path: bytes) -> Placed:
        """Put the host's libfabric in place of the file that the image's libfabric leads to."""
        there = self._tree.resolved(self.fabric())
        return Placed(path, there)

    def _missing(self, path: bytes) -> list[Placed]:
        """Return the places of those libraries that ``path`` needs and the image lacks."""
        known = {name for name, _ in self._linker.libraries()}
        return [
            self._in_directory(library, self.libraries())
            for library in self._linked.get(path, ())
            if os.path.basename(library) not in known
        ]

    def _in_directory(self, source: bytes, directory: bytes, *, makes: bool = False) -> Placed:
        resolved = self._tree.resolved_directory(directory)
        if resolved is None and makes:
            parent = self._tree_of(os.path.dirname(directory))
            resolved = os.path.join(parent, os.path.basename(directory))
            if self._tree.status(resolved) is not None:
                resolved = None
        if resolved is None:
            raise SundogError(
                f"not a directory: {printable(directory)} in the image",
                "make it in the image first",
            )
        return Placed(source, os.path.join(resolved, os.path.basename(source)))

    def _tree_of(self, directory: bytes) -> bytes:
        resolved = self._tree.resolved_directory(directory)
        if resolved is None:
            raise SundogError(f"not a directory: {printable(directory)} in the image")
        return resolved
