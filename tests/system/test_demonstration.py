"""The steps of `make demo`, each as a test: package managers without and with root emulation.

The demonstration's own table says what each command prints and whether it succeeds.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from scripts import account
from scripts.demo import BUILDS, IMAGES, Stage, Step, environment
from scripts.place import CHECKOUT

from tests.conftest import command, run_program

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory, debian_tar: Path, rpm_tar: Path, alpine_tar: Path
) -> Stage:
    """Return a stage with the base images in a storage directory of its own."""
    place = tmp_path_factory.mktemp("demonstration")
    programs = place / "bin"
    programs.mkdir()
    for name in ("ch-image", "ch-run"):
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec {" ".join(command(name))} "$@"\n')
        script.chmod(0o755)
    environment = os.environ | account.environment(account.current(), programs)
    environment["CH_IMAGE_STORAGE"] = str(place / "storage")
    made = Stage(account.current(), environment, CHECKOUT, place / "log")
    for name, tarball in (("debian", debian_tar), ("rpm", rpm_tar), ("alpine", alpine_tar)):
        made.run(Step(f"ch-image import {tarball} {IMAGES[name]}", True, "", "imported"))
    return made


def test_the_users_images_stay(tmp_path: Path) -> None:
    """The demonstration has a storage directory of its own: its names are everybody's."""
    path = [*command("ch-image"), "gestalt", "storage-path"]
    user = account.current()
    found = [
        run_program(
            ["env", "-u", "CH_IMAGE_STORAGE", *path], env=account.environment(user, tmp_path)
        ).stdout,
        run_program(path, env=environment(user, tmp_path)).stdout,
    ]
    assert found[0] != found[1]


@pytest.mark.parametrize("title", BUILDS)
def test_every_step_goes_as_told(stage: Stage, title: str) -> None:
    for step in BUILDS[title]:
        stage.run(step)


def test_emulated_install_changes_nothing_for_the_next_run(stage: Stage) -> None:
    """A layer of a package manager is a good base: dpkg continues from it."""
    dockerfile = stage.log.with_name("Dockerfile")
    dockerfile.write_text(
        "FROM debian:trixie\n"
        "RUN apt-get update && apt-get install -y --no-install-recommends openssh-client\n"
        'RUN test -z "$(dpkg --audit)" && apt-get purge -y openssh-client\n'
        "RUN ! test -e /usr/bin/ssh\n"
    )
    build = f"ch-image build -t purged -f {dockerfile} {dockerfile.parent}"
    stage.run(Step(build, True, r"grown in 4 instructions: purged", "purged"))
