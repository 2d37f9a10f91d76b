"""Programs that these tests compile, and containers that run them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scripts.place import CHECKOUT

from sundog.base.record.owners import pack_owners
from sundog.image.layer.remove import remove_tree
from sundog.image.layer.unpack import unpack
from sundog.runtime.container.fast_path import LIBRARY_NAME, PRELOAD_VARIABLE
from sundog.runtime.emulation.notify.seccomp.fast_path import MACHINES
from tests.conftest import Completed, made_once, run_program
from tests.image.layer.namespace import in_namespace
from tests.runtime.notify.table import INSTALL

if TYPE_CHECKING:
    from collections.abc import Generator

HERE = Path(__file__).parent
FLAGS = ("-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-no-pie", "-pthread")
DYNAMIC = tuple(flag for flag in FLAGS if flag != "-static")
DYNAMIC_PROGRAMS = ("differ", "fuzz", "hurried", "misuse", "permissions")
GLIBC_PROGRAMS = ("forked",)
LOADER = "/lib/ld-musl-x86_64.so.1"
# What a shell does, so that the programs that it starts load the library of the fast path.
PRELOAD = f"export {PRELOAD_VARIABLE.decode()}=/run/{LIBRARY_NAME.decode()}; "
# Without the fast path, and with it.
WAYS = {"plain": False} | ({"fast": True} if os.uname().machine in MACHINES else {})


@dataclass
class Container:
    """A root directory, or the layers of an overlay, in which commands run.

    ``roots`` are topmost first.  A colon and the path of the manifest follow a root that has one.
    """

    roots: list[str]
    upper: Path | None = None

    def argv(self, *command: str, mode: str = "notify", options: tuple[str, ...] = ()) -> list[str]:
        """Return the words that run ``command``; the working directory must be the checkout."""
        arguments = ["--mode", mode, *(f"--root={root}" for root in self.roots), *options]
        if self.upper is not None:
            arguments.append(f"--upper={self.upper}")
        return [sys.executable, "-m", "tests.runtime.notify.sandbox", *arguments, "--", *command]

    def run(
        self,
        *command: str,
        mode: str = "notify",
        options: tuple[str, ...] = (),
        check: bool = True,
        timeout: int = 280,
        within: tuple[str, ...] = (),
    ) -> Completed:
        """Run a command.  With ``check``, a failure or an incident fails the test.

        ``within`` is the command that runs the container, as its first words.
        """
        return run_program(
            [*within, *self.argv(*command, mode=mode, options=options)],
            check=check,
            cwd=CHECKOUT,
            timeout=timeout,
        )

    def on_overlay(self, directory: Path) -> Container:
        """Return the same container with an overlay on top, in the new ``directory``."""
        directory.mkdir()
        return Container(self.roots, directory)

    def next_layer(self, directory: Path) -> Container:
        """Return a container whose lower layers are this container's, and its changes."""
        changed = f"{self.upper}/u:{self.upper}/owners"
        return Container([changed, *self.roots]).on_overlay(directory)

    def sh(self, script: str, *options: str) -> str:
        """Run a shell script and return its output."""
        return self.run("sh", "-c", script, options=options).stdout


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the static programs of ``programs/``."""
    compiler = shutil.which("musl-gcc")
    if compiler is None:
        pytest.fail("musl-gcc is missing: make test installs it; or: apt-get install musl-tools")

    def compile_all(directory: Path) -> None:
        for source in (HERE / "programs").glob("*.c"):
            program = directory / source.stem
            subprocess.run([compiler, *FLAGS, "-o", program, source], check=True)

    return made_once(tmp_path_factory, "notify-programs", compile_all)


@pytest.fixture(scope="session")
def dynamic_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with dynamic programs in ``bin``, and musl's loader in ``lib``.

    The GLIBC_PROGRAMS are for a container with the loader of this machine.
    """
    compiler = shutil.which("musl-gcc")
    assert compiler is not None, "musl-gcc is missing: apt-get install musl-tools"

    def compile_all(directory: Path) -> None:
        programs, libraries = directory / "bin", directory / "lib"
        for place in (programs, libraries):
            place.mkdir()
        for name in (*DYNAMIC_PROGRAMS, *GLIBC_PROGRAMS):
            source = HERE / "programs" / f"{name}.c"
            used = "gcc" if name in GLIBC_PROGRAMS else compiler
            subprocess.run([used, *DYNAMIC, "-o", programs / name, source], check=True)
        shutil.copy(LOADER, libraries)
        # Programs of gcc -fsanitize=address end if another library is loaded before theirs.
        library = libraries / "libasan.so.8"
        empty = ("-shared", "-nostdlib", "-Wl,-soname,libasan.so.8", "-x", "c", os.devnull)
        subprocess.run([compiler, "-o", library, *empty], check=True)
        needed = ("-Wl,--no-as-needed", library, HERE / "programs" / "hurried.c")
        subprocess.run([compiler, *DYNAMIC, "-o", programs / "checked", *needed], check=True)

    return made_once(tmp_path_factory, "notify-dynamic", compile_all)


@pytest.fixture
def dynamic(debian: Container, dynamic_programs: Path) -> Container:
    """Return a Debian with the programs of ``dynamic_programs``."""
    return with_programs(debian, dynamic_programs)


def with_programs(debian: Container, dynamic_programs: Path) -> Container:
    """Return a fresh container of Debian that has the ``dynamic_programs`` now."""
    assert debian.upper is not None
    shutil.copytree(dynamic_programs, debian.upper / "u/usr")
    return debian


@pytest.fixture
def dynamic_busybox(busybox: Container, busybox_tree: Path, dynamic_programs: Path) -> Container:
    """Return ``busybox`` with those of the ``dynamic_programs`` that are dynamic.

    The shell is static, so PRELOAD is for it.
    """
    shutil.copytree(dynamic_programs, busybox_tree, dirs_exist_ok=True)
    return busybox


@pytest.fixture(autouse=True)
def _removed(tmp_path: Path) -> Generator[None]:
    """Remove the files of a test; pytest could not remove a directory of mode 0."""
    yield
    in_namespace(lambda: remove_tree(os.fsencode(tmp_path)))


@pytest.fixture
def busybox(busybox_tree: Path, programs: Path) -> Container:
    """Return a container with BusyBox and the programs of ``programs/``, all static."""
    for program in programs.iterdir():
        shutil.copy(program, busybox_tree / "bin")
    return Container([f"{busybox_tree}:{busybox_tree.parent}/busybox.owners"])


def unpack_with_owners(directory: Path, tar: Path) -> None:
    """Unpack a base image into ``directory``, with its manifest."""
    tree = directory / "tree"
    tree.mkdir()

    def fill() -> bytes:
        with tar.open("rb") as file:
            return pack_owners(unpack(file, os.fsencode(tree)).owners)

    (directory / "owners").write_bytes(in_namespace(fill))


def base_layer(directory: Path) -> Container:
    """Return what ``unpack_with_owners`` has made.  Tests must not write to it."""
    return Container([f"{directory}/tree:{directory}/owners"])


@pytest.fixture(scope="session")
def debian_layer(tmp_path_factory: pytest.TempPathFactory, debian_tar: Path) -> Container:
    """Return an unpacked Debian."""

    def fill(directory: Path) -> None:
        unpack_with_owners(directory, debian_tar)

    return base_layer(made_once(tmp_path_factory, "notify-debian", fill))


@pytest.fixture
def rpm(tmp_path: Path, rpm_tar: Path) -> Container:
    """Return a container of a distribution with RPMs."""
    directory = tmp_path / "rpm"
    directory.mkdir()
    unpack_with_owners(directory, rpm_tar)
    return base_layer(directory).on_overlay(tmp_path / "overlay")


@pytest.fixture
def debian(debian_layer: Container, tmp_path: Path) -> Container:
    """Return a container of Debian, an overlay on the unpacked base image."""
    return debian_layer.on_overlay(tmp_path / "debian")


@pytest.fixture(scope="session")
def tools_layer(tmp_path_factory: pytest.TempPathFactory, debian_layer: Container) -> Container:
    """Return Debian with more packages, which apt installed under notify."""

    def install(directory: Path) -> None:
        debian_layer.on_overlay(directory / "installed").sh(f"exec 2>&1; {INSTALL}")

    directory = made_once(tmp_path_factory, "notify-tools", install)
    return Container(debian_layer.roots, directory / "installed")


@pytest.fixture
def tools(tools_layer: Container, tmp_path: Path) -> Container:
    """Return a container of Debian with more packages."""
    return tools_layer.next_layer(tmp_path / "tools")
