"""Start a module of this installation in an interpreter of its own.

A lower wing may not import a higher one, so what it needs of it is another process.  No variable
and no option can lead to another program.
"""

from __future__ import annotations

import os
import sys

from sundog.base.kernel.libc import encode_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The packages of the child are where this module is.
_PROGRAM = (
    b"import sys; sys.path.append(sys.argv.pop(1)); "
    b"from sundog.start import find_dependencies; find_dependencies(); "
    b"from %b import main; main()"
)
_PACKAGE = "/sundog/"  # between the packages' directory and a module of this one
_DEV_NULL = b"/dev/null"


def spawn_sibling(
    module: bytes,
    words: Sequence[bytes],
    variables: Mapping[bytes, bytes],
    passed: Sequence[tuple[int, int]],
) -> int:
    """Start ``main`` of ``module``; return the ID of the process.

    ``words`` are its arguments, ``variables`` its environment.  ``passed`` are descriptors, and
    their numbers in the child; its standard input is empty.  No signal is blocked there.
    Raises OSError.
    """
    packages, _, _ = spawn_sibling.__code__.co_filename.rpartition(_PACKAGE)
    program = encode_text(sys.executable)
    command = [program, b"-I", b"-S", b"-c", _PROGRAM % module, encode_text(packages) or b"/"]
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, _DEV_NULL, os.O_RDONLY, 0),
        *((os.POSIX_SPAWN_DUP2, *pair) for pair in passed),
    ]
    return os.posix_spawn(
        program, [*command, *words], variables, file_actions=actions, setsigmask=()
    )
