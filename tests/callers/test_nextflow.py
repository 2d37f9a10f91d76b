"""Nextflow's use of Charliecloud's commands: its looks, its lines, its cleaning.

Nextflow itself is a program in Java that its launcher fetches from the internet.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Completed
    from tests.image.registry.servers import InProcessRegistry


class Nextflow:
    """One run of Nextflow: its settings, and its directories ``work`` and ``store``."""

    def __init__(self, bash: Callable[..., Completed], place: Path) -> None:
        self._bash = bash
        self.store = place / "store"
        self.work = place / "work"
        self.pulls = 0

    def check_store(self) -> None:
        """Accept a store that does not exist, or one that looks like Charliecloud's."""
        if self.store.exists():
            for name in ("img", "dlcache"):
                assert (self.store / name).exists(), "seems invalid"

    def image_path(self, image: str) -> Path:
        """Return the place where an image must be, under the name that the user wrote."""
        if ":" not in image:
            image += ":latest"
        return self.store / "img" / image.replace(":", "+").replace("/", "%")

    def fetch(self, image: str) -> Path:
        """Pull an image unless it is there; after a failure, clean up and raise RuntimeError."""
        self.check_store()
        path = self.image_path(image)
        if path.exists():
            return path
        self.pulls += 1
        line = f"ch-image pull -s {self.store} {image} > /dev/null"
        done = self._bash(line, check=False)  # without $CH_IMAGE_STORAGE
        if done.returncode:
            self.delete(path)
            raise RuntimeError(done.stderr)
        assert path.exists()
        return path

    def delete(self, path: Path) -> None:
        """Delete a path as Java's walkFileTree does, which follows no symbolic link."""
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)

    def task(
        self,
        name: str,
        image: str,
        script: str,
        *inputs: Path,
        binds: str = "",
        mode: str = "--write-fake ",
        env: str = "",
        options: str = "",
        **variables: str,
    ) -> Path:
        """Run a process in its own directory; return the directory."""
        directory = self.work / name
        directory.mkdir(parents=True)
        for path in inputs:
            (directory / path.name).symlink_to(path)
        binds = binds or " ".join(f"-b {path.parent}" for path in inputs)
        (directory / ".command.sh").write_text(f"#!/bin/bash -ue\n{script}\n")
        (directory / ".command.run").write_text(
            "set -e\n"
            'NXF_TASK_WORKDIR="$PWD"\n'
            "nxf_container_env() {\n"
            'cat << EOF\nexport FROM_NEXTFLOW="yes"\nEOF\n'
            "}\n"
            f'ch-run --unset-env="*" -c "$NXF_TASK_WORKDIR" --set-env {mode}{env}'
            f'{binds} -b "$NXF_TASK_WORKDIR" {options} {image} -- '
            '/bin/bash -c "eval $(nxf_container_env); /bin/bash -ue '
            f'{directory}/.command.sh"\n'
        )
        self._bash("bash .command.run", cwd=directory, **variables)
        return directory


@pytest.fixture
def nextflow(bash: Callable[..., Completed], tmp_path: Path) -> Nextflow:
    return Nextflow(bash, tmp_path)


def test_a_pipeline_of_two_processes(nextflow: Nextflow, registry: InProcessRegistry) -> None:
    image = nextflow.fetch(f"{registry.host}/lab/tool:1")
    first = nextflow.task("ab/1", str(image), "printf 'b\\na\\n' >letters; env >variables")
    second = nextflow.task("cd/2", str(image), "sort letters >sorted", first / "letters")
    assert (second / "sorted").read_text() == "a\nb\n"
    variables = dict(line.split("=", 1) for line in (first / "variables").read_text().splitlines())
    assert variables["TOOL"] == "yes"
    assert variables["PATH"] == "/opt/tool/bin:/usr/bin:/bin"
    assert variables["FROM_NEXTFLOW"] == "yes"
    assert "USER" not in variables
    # The next run finds the image.
    assert nextflow.fetch(f"{registry.host}/lab/tool:1") == image
    assert nextflow.pulls == 1


TASKS = {
    "a temporary directory": {"env": "--set-env=K=V ", "binds": "-b $(mktemp -d):/tmp"},
    "a host variable": {"env": "${HOME:+--set-env=HOME=$HOME} "},
    "options of the user": {"options": "--seccomp -t"},
    "without writing": {"mode": "", "binds": "-b {top}"},
}


@pytest.mark.parametrize("case", TASKS)
def test_the_lines_of_a_task(
    nextflow: Nextflow, registry: InProcessRegistry, case: str, tmp_path: Path
) -> None:
    image = nextflow.fetch(f"{registry.host}/lab/tool:1")
    settings = dict(TASKS[case])
    settings["binds"] = settings.get("binds", "").format(top=f"/{tmp_path.parts[1]}")
    temporary = tmp_path / "tmp"  # the container's /tmp must not be that of the whole machine
    temporary.mkdir()
    script = "env >out; touch /tmp/x; pwd >>out"
    done = nextflow.task("1", str(image), script, **settings, TMPDIR=str(temporary))
    lines = (done / "out").read_text().splitlines()
    assert len(list(temporary.rglob("x"))) == (case != "options of the user")  # -t hides it
    assert lines[-1] == str(done)
    assert "TOOL=yes" in lines
    if "K=V" in settings.get("env", ""):
        assert "K=V" in lines


def test_by_the_bare_name_in_the_current_storage(
    nextflow: Nextflow, registry: InProcessRegistry
) -> None:
    """With writeFake and $CH_IMAGE_STORAGE, Nextflow gives the last component of the path."""
    image = nextflow.fetch(f"{registry.host}/lab/tool:1")
    storage = str(nextflow.store)
    done = nextflow.task("1", image.name, "echo $TOOL >out", CH_IMAGE_STORAGE=storage)
    assert (done / "out").read_text() == "yes\n"


@pytest.mark.parametrize("suffix", ["", ".squashfs"])
def test_a_copy_of_the_image(
    nextflow: Nextflow,
    registry: InProcessRegistry,
    bash: Callable[..., Completed],
    tmp_path: Path,
    suffix: str,
) -> None:
    """Older versions without writeFake convert the image into the task's directory."""
    image = nextflow.fetch(f"{registry.host}/lab/tool:1")
    copy = f'"$NXF_TASK_WORKDIR"/container_{image.name}{suffix}'
    write = "" if suffix else "-w "
    done = bash(
        f'NXF_TASK_WORKDIR="$PWD"; ch-convert -i ch-image --storage {nextflow.store} {image.name} '
        f'{copy} && ch-run --unset-env="*" -c "$NXF_TASK_WORKDIR" --set-env {write}'
        f'-b /{tmp_path.parts[1]} {copy} -- /bin/bash -c "pwd; echo \\$TOOL"'
    )
    assert done.stdout == f"{tmp_path}\nyes\n"


def test_without_write_fake_the_image_is_not_writable(
    nextflow: Nextflow, registry: InProcessRegistry, bash: Callable[..., Completed]
) -> None:
    image = nextflow.fetch(f"{registry.host}/lab/tool:1")
    done = bash(f'ch-run --unset-env="*" -c / --set-env -w {image} -- true', check=False)
    assert done.returncode == 31
    assert "error: --write invalid when running by name" in done.stderr
    assert "-W lets COMMAND write to a copy" in done.stderr


def test_a_pull_that_fails(nextflow: Nextflow, registry: InProcessRegistry) -> None:
    with pytest.raises(RuntimeError, match="lab/nothing"):
        nextflow.fetch(f"{registry.host}/lab/nothing:1")
    nextflow.check_store()
    nextflow.fetch(f"{registry.host}/lab/tool:1")


@pytest.mark.parametrize("kept", [True, False])
def test_a_pull_that_ends_too_late(
    nextflow: Nextflow, registry: InProcessRegistry, bash: Callable[..., Completed], *, kept: bool
) -> None:
    """Nextflow deletes its path although the image is there; the next pull brings it back."""
    image = nextflow.fetch(f"{registry.host}/lab/tool:1")
    nextflow.delete(image)
    assert not image.exists()
    if not kept:
        bash(f"ch-image delete -s {nextflow.store} {registry.host}/lab/tool:1")
    assert nextflow.fetch(f"{registry.host}/lab/tool:1") == image
    done = nextflow.task("1", str(image), "echo $TOOL >out")
    assert (done / "out").read_text() == "yes\n"


def test_a_store_that_another_command_made(
    nextflow: Nextflow, busybox_tar: Path, bash: Callable[..., Completed]
) -> None:
    """An image of Docker Hub is there under every name that a pipeline may use."""
    bash(f"ch-image import -s {nextflow.store} {busybox_tar} debian")
    nextflow.check_store()
    for name in ("debian", "library/debian", "docker.io/debian:latest", "docker.io/library/debian"):
        assert nextflow.fetch(name).exists()
    assert nextflow.pulls == 0


def test_other_commands_see_the_image_at_its_path(
    nextflow: Nextflow, registry: InProcessRegistry, bash: Callable[..., Completed], tmp_path: Path
) -> None:
    """They do not take what is there for a directory image."""
    image = nextflow.fetch(f"{registry.host}/lab/tool:1")
    own = {"CH_IMAGE_STORAGE": str(tmp_path / "own")}
    for words in (f"{image} ./tool", f"-i dir {image} ./tool"):
        bash(f"ch-convert {words}", **own)
        assert bash("ch-run ./tool -- ls /opt/tool/bin").stdout == "sort\n"
    done = bash(f"ch-image import {image} copy", check=False, **own)
    assert done.returncode == 1
    assert f"error: {image} is an image in a storage directory\n" in done.stderr
    (hint,) = [line for line in done.stderr.splitlines() if line.startswith("hint: ")]
    bash(hint.removeprefix("hint: "), **own)
    assert bash("ch-run copy -- sh -c 'ls /opt/tool/bin'", **own).stdout == "sort\n"
