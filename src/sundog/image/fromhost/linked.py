"""The shared libraries that a program or a library of this machine needs, as ldd(1) finds them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Linked:
    """The libraries that a file names, and those without a name: the dynamic loader above all."""

    libraries: tuple[bytes, ...] = ()
    nameless: tuple[bytes, ...] = ()

    @property
    def files(self) -> tuple[bytes, ...]:
        """The paths of all of them."""
        return (*self.libraries, *self.nameless)


def linked(path: bytes) -> Linked:
    """Return what the file ``path`` needs: nothing if it is static, or if there is no ldd."""
    if shutil.which("ldd") is None:
        return Linked()
    done = subprocess.run(
        ["ldd", path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return parse(done.stdout)


def parse(listed: bytes) -> Linked:
    """Return what the output of ldd says: ``NAME => PATH (ADDRESS)`` or ``PATH (ADDRESS)``."""
    libraries: list[bytes] = []
    nameless: list[bytes] = []
    for line in listed.split(b"\n"):
        _, arrow, rest = line.strip().rpartition(b" => ")
        path = rest.rpartition(b" (")[0]
        if path.startswith(b"/"):
            (libraries if arrow else nameless).append(path)
    return Linked(tuple(libraries), tuple(nameless))
