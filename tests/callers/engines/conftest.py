"""Programs that call Apptainer, and find Sundog in its place: `make callers`.

Other runs do not collect these tests.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scripts import callers

from tests.conftest import Completed, command, run_program
from tests.image.pull.flavours import serving

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

CALLERS = os.environ.get(callers.VARIABLE, "")
collect_ignore_glob = [] if CALLERS else ["test_*.py"]

# bash, as the callers start it, is busybox here.
SMALL = """\
FROM busybox
COPY bash /bin/bash
ENV IMAGE="is here"
"""
# Snakemake runs its scripts by the image's Python, which reads modules of its own Python.
PYTHON = """\
FROM base
RUN apt-get -q update && apt-get install -qy --no-install-recommends python-is-python3
ENV IMAGE="is here"
"""


@dataclass(frozen=True)
class Site:
    """A machine on which `apptainer` and `singularity` are Sundog, and a registry with images.

    home      the user's home directory
    programs  the directory of the two commands
    registry  HOST:PORT, where each image is that a test pushes
    """

    home: Path
    programs: Path
    registry: str

    @property
    def small(self) -> str:
        """Return the name of a small image, with a bash."""
        return f"{self.registry}/lab/small:1"

    def push(self, name: str, base: Path, dockerfile: str, **files: str) -> str:
        """Build an image of a tarball and more files, and push it; return its name."""
        context = self.home.parent / f"context-{name}"
        context.mkdir()
        (context / "Dockerfile").write_text(dockerfile)
        for file, text in files.items():
            (context / file).write_text(text)
            (context / file).chmod(0o755)
        env = {"CH_IMAGE_STORAGE": str(self.home.parent / "made")}
        remote = f"{self.registry}/lab/{name}:1"
        for words in (
            ("import", base, dockerfile.split()[1]),
            ("build", "-t", name, context),
            ("push", name, remote),
        ):
            run_program([*command("ch-image"), *words], env=env, timeout=600)
        return remote

    def environment(self, caller: str) -> dict[str, str]:
        """Return the environment in which a caller runs, as a login gives it."""
        programs = (self.programs, Path(CALLERS, caller, "bin"), "/usr/bin", "/bin")
        temporary = self.home.parent / "tmp"
        temporary.mkdir(exist_ok=True)
        return {
            "CH_IMAGE_STORAGE": str(self.home.parent / "storage"),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PATH": ":".join(map(str, programs)),
            "TMPDIR": str(temporary),
            "USER": "ada",
            "XDG_RUNTIME_DIR": str(self.home.parent / "run"),
        }

    def run(
        self,
        caller: str,
        *words: str | Path,
        cwd: Path,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run a program of a caller's venv in a directory."""
        argv = ["env", "-i"]
        argv += [
            f"{name}={value}"
            for name, value in (self.environment(caller) | dict(env or {})).items()
        ]
        done = run_program([*argv, *words], check=False, cwd=cwd, timeout=600)
        if check and done.returncode:
            pytest.fail(f"{words[0]}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done


@pytest.fixture(scope="session")
def site(busybox_tar: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Site]:
    """Return a site with a registry that has the small image."""
    place = tmp_path_factory.mktemp("site")
    for name in ("bin", "home", "run", "registry"):
        (place / name).mkdir(mode=0o700)
    run_program([*command("sundog"), "apptainer", "links", place / "bin"])
    with serving(place / "registry", "registry", {}, {}) as host:
        one = Site(place / "home", place / "bin", host)
        one.push("small", busybox_tar, SMALL, bash='#!/bin/sh\nexec /bin/sh "$@"\n')
        yield one


def owned(path: Path) -> str:
    """Return the text of a file that the user of the tests owns."""
    assert path.stat().st_uid == os.geteuid(), path
    return path.read_text()
