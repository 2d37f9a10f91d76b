"""Inject files of the host into the directory of an image: all or none.

The work is done in a child process, as mock root in namespaces of its own: there the user may write
to his own files whatever their modes are.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.errors import SundogError
from sundog.image.fromhost.destination import (
    FABRIC,
    OFI_CONFIGURATION,
    Destinations,
    Placed,
    is_library,
    is_provider,
)
from sundog.image.fromhost.exchange import PLACE, Exchange
from sundog.image.fromhost.linked import linked
from sundog.image.fromhost.linker import Linker
from sundog.image.fromhost.lists import check_source
from sundog.image.fromhost.tree import Tree
from sundog.runtime.container.enter import enter_namespaces
from sundog.runtime.process.child import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol

    from sundog.image.fromhost.lists import Wanted

    class Report(Protocol):
        """A function that takes messages; called in a child process, too."""

        def verbose(self, text: str) -> None: ...  # noqa: D102
        def debug(self, text: str) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Options:
    """Options of an injection: whether the linker's cache is made; the user's environment."""

    makes_cache: bool
    environment: Mapping[str, str]


def inject(image: str, files: Sequence[Wanted], options: Options, report: Report) -> None:
    """Put ``files`` into the image's directory.  Atomic: see ``exchange``.

    Raises SundogError, KernelError, OSError; then the image is as it was.
    """
    for wanted in files:
        check_source(wanted)
    libraries = {
        wanted.path: linked(wanted.path).libraries
        for wanted in files
        if not wanted.destination and _is_ofi(wanted)
    }

    def work(place: _Place) -> None:
        with Exchange(place.tree) as exchange:
            destinations = Destinations(place.tree, place.linker, options.environment, libraries)
            placed = [one for wanted in files for one in destinations.place(wanted)]
            for one in placed:
                report.verbose(f"{printable(one.source)} -> /{printable(one.path)}")
                exchange.add_file(one.path, one.source)
            _configure_ofi(place, exchange, files, libraries)
            if options.makes_cache and any(is_library(one.source) for one in placed):
                report.verbose("updating the linker's cache")
                _update_cache(place.linker, exchange, placed)
            exchange.commit()

    try:
        _in_image(image, work, report)
    except BaseException:  # ^C kills the child
        _recover(image, report)
        raise


def inferred_libraries(image: str, options: Options, report: Report) -> bytes:
    """Return the image's directory for shared libraries.  Raises SundogError."""
    return _asked(image, options, report, Destinations.libraries)


def inferred_fabric(image: str, options: Options, report: Report) -> bytes:
    """Return the image's directory with libfabric.  Raises SundogError."""
    return _asked(image, options, report, lambda places: os.path.dirname(places.fabric()))


def inferred_providers(image: str, options: Options, report: Report) -> bytes:
    """Return the image's directory for providers of libfabric.  Raises SundogError."""
    return _asked(image, options, report, Destinations.providers)


def _recover(image: str, report: Report) -> None:
    """Undo what an interrupted process has left, or finish it."""

    def work(place: _Place) -> None:
        with Exchange(place.tree):
            pass

    if os.path.lexists(os.path.join(os.fsencode(image), PLACE)):
        with suppress(SundogError, OSError):  # the error that led here says more
            _in_image(image, work, report)


@dataclass(frozen=True, slots=True)
class _Place:
    tree: Tree
    linker: Linker


def _asked(
    image: str, options: Options, report: Report, question: Callable[[Destinations], bytes]
) -> bytes:
    def work(place: _Place) -> bytes:
        return question(Destinations(place.tree, place.linker, options.environment, {}))

    return cast("bytes", _in_image(image, work, report))


def _in_image(image: str, work: Callable[[_Place], object], report: Report) -> object:
    """Call ``work`` as mock root; return its result, a plain value."""
    path = os.path.realpath(os.fsencode(image))

    def inside(tie: Callable[[], None]) -> object:
        enter_namespaces(0, 0)
        tie()
        with Closing(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
            tree = Tree(fd)
            return work(_Place(tree, Linker(tree, report.debug)))

    return Child(inside).result()


def _is_ofi(wanted: Wanted) -> bool:
    return wanted.name.startswith(FABRIC) or is_provider(wanted.path)


def _update_cache(linker: Linker, exchange: Exchange, placed: Sequence[Placed]) -> None:
    """Stage what ldconfig would make: the linker's cache, and the symlinks of library names."""
    for change in linker.changes({one.path: os.path.realpath(one.source) for one in placed}):
        if change.target:
            exchange.add_symlink(change.path, change.target)
        else:
            exchange.add_text(change.path, change.text)


def _configure_ofi(
    place: _Place,
    exchange: Exchange,
    files: Sequence[Wanted],
    linked: Mapping[bytes, Sequence[bytes]],
) -> None:
    """Tell the image's linker the directories of what the providers need."""
    directories = {
        os.path.dirname(library)
        for wanted in files
        if is_provider(wanted.path)
        for library in linked.get(wanted.path, ())
    }
    if not directories:
        return
    text = b"".join(
        directory + b"\n"
        for directory in sorted(directories.difference(place.linker.directories()))
    )
    parent, name = os.path.split(OFI_CONFIGURATION)
    resolved = place.tree.resolved_directory(parent)
    if resolved is None:
        raise SundogError(f"not a directory: /{parent.decode()} in the image")
    exchange.add_text(os.path.join(resolved, name), text)
