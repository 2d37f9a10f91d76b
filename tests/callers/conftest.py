"""An image in a registry, and the installed commands as other programs find them: by $PATH."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Completed, command, run_program
from tests.image.registry.servers import InProcessRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

# bash, as workflow engines start it, is busybox here.  It exists in the top layer only.
DOCKERFILE = r"""
FROM bb
COPY bash /bin/bash
ENV PATH=/opt/tool/bin:/usr/bin:/bin TOOL=yes
RUN mkdir -p /opt/tool/bin && ln -s /bin/busybox /opt/tool/bin/sort
"""


@pytest.fixture(scope="module")
def registry(
    busybox_tar: Path, tmp_path_factory: pytest.TempPathFactory
) -> Generator[InProcessRegistry]:
    """Return a registry that has the image ``lab/tool:1``."""
    place = tmp_path_factory.mktemp("registry")
    (place / "bash").write_text('#!/bin/sh\nexec /bin/sh "$@"\n')
    (place / "bash").chmod(0o755)
    (place / "Dockerfile").write_text(DOCKERFILE)
    env = {"CH_IMAGE_STORAGE": str(place / "storage")}
    ch_image = command("ch-image")
    with InProcessRegistry().serve() as served:
        run_program([*ch_image, "import", busybox_tar, "bb"], env=env)
        run_program([*ch_image, "build", "-t", "tool", place], env=env)
        run_program([*ch_image, "push", "tool", f"{served.host}/lab/tool:1"], env=env)
        yield served


@pytest.fixture
def bash(tmp_path: Path) -> Callable[..., Completed]:
    """Run a line of bash, with the commands in $PATH; ``env`` adds to a small environment."""

    def run(line: str, *, check: bool = True, cwd: Path = tmp_path, **env: str) -> Completed:
        here = Path(sys.executable).parent
        small = {"PATH": f"{here}:/usr/bin:/bin", "HOME": os.environ["HOME"], "USER": "u"}
        done = subprocess.run(
            ["bash", "-c", line],
            env=small | env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or not check, done
        return done

    return run
