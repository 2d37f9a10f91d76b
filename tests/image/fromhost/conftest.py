"""An image with a real dynamic linker, and a program in it that lacks a library."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from sundog.front.doctor.tiny_image import make_tiny_image
from tests.conftest import Completed, command, run_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# The program, and the library that it needs.
SOURCE = "int shine(void); int main(void) { return shine() != 42; }\n"
LIBRARY = "int shine(void) { return 42; }\n"
NAME = "libshine.so.1"
LONG_NAME = "libshine.so.1.2"  # its soname is NAME


@dataclass(frozen=True)
class Host:
    """Files of the host: a library, a program that needs it, and a template of an image."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def library(self) -> Path:
        return self.path / "lib" / LONG_NAME

    @property
    def template(self) -> Path:
        return self.path / "image"


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    host = Host(tmp_path_factory.mktemp("host"))
    host.library.parent.mkdir()
    (host.path / "lib.c").write_text(LIBRARY)
    (host.path / "main.c").write_text(SOURCE)
    cc = ["cc", "-o"]
    soname = ["-shared", "-fPIC", f"-Wl,-soname,{NAME}"]
    subprocess.run([*cc, host.library, *soname, host.path / "lib.c"], check=True)
    program = host.path / "shine"
    subprocess.run([*cc, program, host.path / "main.c", host.library], check=True)
    host.template.mkdir()
    make_tiny_image(str(host.template))
    for source, name in (("/sbin/ldconfig", "sbin/ldconfig"), (program, "bin/shine")):
        target = host.template / name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(source, target)
    for name in ("usr/bin", "usr/local/lib", "usr/lib", "mnt", "opt"):
        (host.template / name).mkdir(parents=True, exist_ok=True)
    (host.template / "etc/ld.so.conf").write_text("/usr/local/lib\n")
    return host


@dataclass(frozen=True)
class Image:
    """The directory of an image, and what ch-fromhost does to it."""

    path: Path

    def inject(
        self,
        *words: str | os.PathLike[str],
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        return run_program([*command("ch-fromhost"), *words, self.path], check=check, env=env)

    def run(self, *words: str) -> Completed:
        return run_program([*command("ch-run"), self.path, "--", *words], check=False)

    def works(self) -> bool:
        """Tell whether the program in the image finds its library."""
        return self.run("/bin/shine").returncode == 0

    def content(self) -> dict[str, object]:
        """Return all that is in the image, without times."""
        return dict(entries(self.path))


def entries(tree: Path) -> Iterator[tuple[str, object]]:
    """Yield each path of a tree, with type, mode and content."""
    for path in sorted(tree.rglob("*")):
        status = path.lstat()
        content: object = None
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        yield str(path.relative_to(tree)), (oct(status.st_mode), content)


def cache_lines(cache: Path) -> list[str]:
    """Return the entries of a linker's cache, in order."""
    done = run_program(["/sbin/ldconfig", "-p", "-C", cache])
    return [line for line in done.stdout.splitlines() if line.startswith("\t")]


@pytest.fixture
def image(host: Host, tmp_path: Path) -> Image:
    return copy_of(host.template, tmp_path / "image")


def copy_of(template: Path, path: Path) -> Image:
    shutil.copytree(template, path, symlinks=True)
    return Image(path)
