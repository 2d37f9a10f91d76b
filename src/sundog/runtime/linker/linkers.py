"""The dynamic linkers of an image, and the directories that musl's one searches.

Sources: ld.so(8); musl's ldso/dynlink.c for the file /etc/ld-musl-ARCH.path.
"""

from __future__ import annotations

from sundog.runtime.container.root_files import names_inside, read_inside

C_LIBRARY = b"libc.so.6"
GLIBC_LINKERS = (b"ld-linux", b"ld64.so", b"ld.so")
_MUSL_LINKER, _MUSL_LINKER_END = b"ld-musl-", b".so.1"
_MUSL_PATH = b"/etc/ld-musl-%b.path"
_MUSL_DIRECTORIES = [b"/lib", b"/usr/local/lib", b"/usr/lib"]
_MUSL_PATH_LIMIT = 1 << 16
_LINKER_PLACES = (b"lib", b"lib64")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def linkers_inside(root: int) -> list[bytes]:
    """Return the names of the image's dynamic linkers, and of other files beside them."""
    names = [name for directory in _LINKER_PLACES for name in names_inside(root, directory)]
    return sorted(name for name in names if name.startswith(b"ld"))


def musl_linker(linkers: Sequence[bytes]) -> bytes:
    """Return the first of ``linkers`` that is musl's; b"" if none is."""
    return next((name for name in linkers if name.startswith(_MUSL_LINKER)), b"")


def musl_directories(root: int, linker: bytes) -> tuple[bytes, list[bytes]]:
    """Return the path of the list for a linker of musl, and the directories that it searches."""
    path = _MUSL_PATH % linker[len(_MUSL_LINKER) : -len(_MUSL_LINKER_END)]
    text = read_inside(root, path, _MUSL_PATH_LIMIT)
    if text is None:
        return path, _MUSL_DIRECTORIES
    return path, [each for each in text.replace(b"\n", b":").split(b":") if each]
