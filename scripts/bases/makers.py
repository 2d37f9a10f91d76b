"""The table of base images; makes a base image unless it is there."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import packages
from scripts.bases import alpine, bootstrap, busybox, debian, foreign, i386, mpi, mpich, pacman, rpm
from scripts.place import WorkshopError, atomically, digest, find, own

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Maker:
    """A base image's maker: the Debian packages and sources that it needs, and the function."""

    needs: Sequence[str]
    sources: Sequence[str]
    make: Callable[[Path], None]


MAKERS = {
    "alpine": Maker(alpine.NEEDS, ("alpine.py", "apk.py"), alpine.make),
    "busybox": Maker(busybox.NEEDS, ("busybox.py",), busybox.make),
    "busybox-arm64": Maker(
        foreign.NEEDS, ("foreign.py", "busybox.py"), foreign.busybox_of("arm64")
    ),
    "debian": Maker(bootstrap.needs(), ("debian.py", "bootstrap.py"), debian.make),
    "debian-amd64": Maker(foreign.NEEDS, ("foreign.py", "debian.py"), foreign.debian("amd64")),
    "debian-arm64": Maker(foreign.NEEDS, ("foreign.py", "debian.py"), foreign.debian("arm64")),
    "debian-i386": Maker(i386.NEEDS, ("i386.py", "debian.py"), i386.make),
    "debian-riscv64": Maker(foreign.NEEDS, ("foreign.py", "debian.py"), foreign.debian("riscv64")),
    "mpi": Maker(mpi.NEEDS, ("mpi.py", "bootstrap.py", "mpi/*"), mpi.make),
    "mpich": Maker(mpich.NEEDS, ("mpich.py",), mpich.make),
    "pacman": Maker(pacman.NEEDS, ("pacman.py", "bootstrap.py", "pacman/*"), pacman.make),
    "rpm": Maker(rpm.NEEDS, ("rpm.py", "bootstrap.py", "rpm/*"), rpm.make),
}


def tarball(name: str) -> str:
    """Return the file name of a base image, which changes with its maker."""
    sources = [path for pattern in MAKERS[name].sources for path in HERE.glob(pattern)]
    return f"{name}-{digest(sources)}.tar"


def is_absent(name: str) -> bool:
    """Tell whether a base image is yet to be made."""
    return find("bases", tarball(name)) is None


def needs(names: Sequence[str]) -> list[str]:
    """Return the Debian packages for making the base images that are not there yet."""
    absent = filter(is_absent, names)
    return sorted({package for name in absent for package in MAKERS[name].needs})


def base(name: str) -> Path:
    """Return the path of a base image's tarball; make it unless it is there."""
    if name not in MAKERS:
        raise WorkshopError(f"no such base image: {name}\nhint: one of {' '.join(MAKERS)}")
    found = find("bases", tarball(name))
    if found is not None:
        return found
    packages.require(MAKERS[name].needs)
    started = time.monotonic()
    target = own("bases") / tarball(name)
    with atomically(target) as part:
        MAKERS[name].make(part)
    for old in target.parent.glob(f"{name}-????????????.tar"):
        if old != target:
            old.unlink()
    size = target.stat().st_size / 1e6
    print(f"  made {target} ({size:.0f} MB) in {time.monotonic() - started:.0f} s", flush=True)
    return target
