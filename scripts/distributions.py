"""The packages of machines without a build of Sundog: a .deb, an .rpm, and an archive of wheels.

`make packages` and `make offline` put them into dist/. The tools of the distributions build the
packages, in containers of Sundog, as an ordinary user: packaging/debian and packaging/rpm have a
Dockerfile each.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from scripts import install, packages
from scripts.bases import makers
from scripts.place import CHECKOUT, WorkshopError, copy_checkout

# What Debian lacks, or has too old a version of.
VENDORED = "backports.zstd>=1.0"
# Pythons and tags of an archive of wheels: pip takes a wheel if one tag fits.
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
WITH_ZSTD = ("3.14",)  # in the standard library
TAGS = ("linux", "manylinux_2_17", "manylinux2014", "manylinux_2_28", "manylinux_2_34")
PACKAGES = {"debian": "sundog_*.deb", "rpm": "sundog-*.rpm"}
# The base of a kind, and the name that its Dockerfile has for it.
KINDS = {"debian": ("debian", "debian:trixie"), "rpm": ("rpm", "rpmdistro:8")}


def version() -> str:
    """Return the version of the checkout."""
    text = (CHECKOUT / "src/sundog/__init__.py").read_text(encoding="utf-8")
    return text.partition('__version__ = "')[2].partition('"')[0]


def context(kind: str, directory: Path, wheel: Path) -> None:
    """Write the context of a kind's Dockerfile."""
    copy_checkout(directory)
    python = f"--python-version={'.'.join(map(str, install.version(install.SYSTEM_PYTHON)))}"
    binary = (python, "--only-binary=:all:")
    if kind == "debian":
        shutil.copytree(directory / "packaging/debian", directory / "debian")
        vendored = directory / "debian/vendored"
        install.pip("download", "--no-deps", *binary, f"--dest={vendored}", VENDORED)
        when = time.strftime("%a, %d %b %Y 00:00:00 +0000", time.gmtime())
        who = "The Sundog developers <sundog@example.org>"
        (directory / "debian/changelog").write_text(
            f"sundog ({version()}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n"
            f" -- {who}  {when}\n"
        )
    else:
        sources = directory / "sources"
        install.pip("download", *binary, f"--dest={sources}", str(wheel))
        shutil.copy(CHECKOUT / "packaging/lay_out.py", sources)


def build(kind: str, out: Path, programs: Path, wheel: Path) -> Path:
    """Build the package of a kind into ``out`` by ``sundog build``; return its path."""
    for base, name in KINDS.values():  # Debian has the tools that check all packages
        tarball = str(makers.base(base))
        install.run([str(programs / "ch-image"), "import", tarball, name], dict(os.environ))
    with tempfile.TemporaryDirectory(prefix="sundog-packages.") as temporary:
        place = Path(temporary, "context")
        context(kind, place, wheel)
        file = f"--file={place}/packaging/{kind}/Dockerfile"
        words = [file, f"--build-arg=VERSION={version()}", f"--output={temporary}/out", str(place)]
        install.run([str(programs / "sundog"), "build", *words], dict(os.environ))
        (made,) = Path(temporary, "out").rglob(PACKAGES[kind])
        out.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(made, out))


def wheelhouse(out: Path, wheel: Path) -> Path:
    """Write the archive of wheels for this machine; return its path."""
    machine = os.uname().machine
    name = f"sundog-{version()}-offline-{machine}"
    with tempfile.TemporaryDirectory(prefix="sundog-offline.") as temporary:
        wheels = Path(temporary, "wheels")
        words = ["download", "--only-binary=:all:", f"--dest={wheels}"]
        install.pip(*words, f"{wheel}[fast]")
        # pip reads conditions on the version of Python as this one: so ask by name.
        found = ["==".join(path.name.split("-")[:2]) for path in wheels.iterdir()]
        tags = [f"--platform={tag}_{machine}" for tag in TAGS]
        for python in PYTHONS:
            names = [
                name
                for name in found
                if not name.startswith("sundog==")
                and not (name.startswith("backports") and python in WITH_ZSTD)
            ]
            install.pip(*words, "--no-deps", f"--python-version={python}", *tags, *names)
        out.mkdir(parents=True, exist_ok=True)
        path = out / f"{name}.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(wheels, f"{name}")
    return path


def main() -> int:
    """`make offline`: write the archive of wheels into dist/; return the exit status."""
    try:
        packages.require(install.NEEDS)
        print(wheelhouse(CHECKOUT / "dist", install.wheel()))
    except WorkshopError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
