"""The compiled attacker, and the canaries that it must not harm."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.hostile.outside import Outside, canaries

if TYPE_CHECKING:
    from collections.abc import Generator

PROGRAMS = Path(__file__).with_name("programs")
FLAGS = ("-std=gnu11", "-pthread", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-format-truncation")
# musl does not include the kernel's headers.
HEADERS = ("-static", "-no-pie", "-idirafter", "/usr/include")


@pytest.fixture(scope="session")
def attacker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the static program that tries all attacks."""
    sources = sorted(PROGRAMS.glob("*.c"))
    return compiled(tmp_path_factory.mktemp("attacker") / "attacker", sources)


@pytest.fixture(scope="session")
def links(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the static program that makes all calls with names that lead to processes."""
    return compiled(tmp_path_factory.mktemp("links") / "links", [PROGRAMS.with_name("links.c")])


def compiled(program: Path, sources: list[Path]) -> Path:
    """Compile ``sources`` to the static ``program``; return it."""
    compiler = shutil.which("musl-gcc")
    if compiler is None:
        pytest.fail("musl-gcc is missing: make test installs it; or: apt-get install musl-tools")
    triplet = subprocess.run(
        ["gcc", "-print-multiarch"], capture_output=True, text=True, check=True
    ).stdout.strip()
    headers = (*HEADERS, "-idirafter", f"/usr/include/{triplet}")
    subprocess.run([compiler, *FLAGS, *headers, "-o", program, *sources], check=True)
    return program


@pytest.fixture
def outside(tmp_path: Path) -> Generator[Outside]:
    """Put up the canaries."""
    directory = tmp_path / "outside"
    directory.mkdir()
    with canaries(directory) as found:
        yield found
