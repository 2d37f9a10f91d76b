"""Ranks of an image that is not here yet, and a registry that is down while they begin."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.cluster.conftest import IMAGE, Slurm
from tests.cluster.test_mpi import RANKS
from tests.conftest import until
from tests.image.pull.flavours import serving

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OUTAGE = float(os.environ.get("SUNDOG_OUTAGE", "8"))  # seconds
COUNT = 4
RANK = f"""\
touch /mnt/0/in.$SLURM_PROCID; until test -e /mnt/0/go; do sleep 0.1; done
exec {RANKS}.openmpi
"""


def test_a_registry_is_down_while_ranks_begin(slurm: Slurm, tmp_path: Path) -> None:
    """They wait, say so, and are right: MPI_Init reads libraries that nobody has read before."""
    with ExitStack() as registry:
        host = registry.enter_context(serving(tmp_path, "registry", {}, {}, slurm.address))
        settings = tmp_path / "registries.conf"
        settings.write_text(f"[[registry]]\nlocation = '{host}'\ninsecure = true\n")
        env = {
            "CONTAINERS_REGISTRIES_CONF": str(settings),
            "CH_IMAGE_STORAGE": str(tmp_path / "own"),
            "CH_RUN_LAZY": "ondemand",
        }
        name = f"{host}/site/mpi:1"
        storage = f"--storage={slurm.variables['CH_IMAGE_STORAGE']}"
        push = ("push", storage, "--compression=zstd:chunked", IMAGE, name)
        slurm.run("ch-image", *push, env=env, timeout=300)
        slurm.run("ch-image", "pull", "--lazy", name, env=env)
        line = ("srun", "--mpi=pmix", "-N2", f"-n{COUNT}", "ch-run", "-b", f"{tmp_path}:/mnt/0")
        with subprocess.Popen(
            [*line, name, "--", "sh", "-c", RANK],
            env={**slurm.variables, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as ranks:
            until(lambda: len([*tmp_path.glob("in.*")]) == COUNT, "all ranks are in")
            registry.close()
            (tmp_path / "go").touch()
            time.sleep(OUTAGE)
            assert ranks.poll() is None
            registry.enter_context(serving(tmp_path, "again", {}, {}, host))
            printed, _ = ranks.communicate(timeout=300)
    assert ranks.returncode == 0, printed
    assert printed.count(": right") == COUNT, printed
    assert f"waiting for {host}" in printed
