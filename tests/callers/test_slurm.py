"""The lines by which Slurm's documentation has Charliecloud run steps (oci.conf)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Completed
    from tests.image.registry.servers import InProcessRegistry

# %r: the root directory; %e: the step's environment; %m: its spool directory; %@: the command.
DOCUMENTED = (
    'env -i PATH="$PATH" USER="$(whoami)" HOME="$HOME" '
    "ch-run -w --bind %m:/var/run/slurm --bind /tmp:/tmp --set-env=%e --no-passwd %r -- %@"
)
DIRECT = "ch-run --set-env=%e -b %m --cd %Z %r -- %@"


@pytest.fixture
def step(bash: Callable[..., Completed], tmp_path: Path) -> Callable[..., Completed]:
    """Run a step as Slurm does: by a shell, with each word of the command in quotes."""
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "task").write_text("of slurm\n")
    environment = tmp_path / "environment"
    environment.write_text("PATH=/bin\nSLURM_JOB_ID=7\nWORDS=two words\n")

    def run(pattern: str, rootfs: str, *words: str, **env: str) -> Completed:
        command = " ".join(f"'{word}'" for word in words)
        values = {"%e": str(environment), "%m": str(spool), "%r": rootfs, "%Z": str(spool)}
        for name, value in {**values, "%@": command}.items():
            pattern = pattern.replace(name, value)
        return bash(pattern, **env)

    return run


def test_the_documented_line_with_a_bundle(
    bash: Callable[..., Completed],
    step: Callable[..., Completed],
    registry: InProcessRegistry,
    tmp_path: Path,
) -> None:
    storage = str(tmp_path / "storage")
    image = f"{registry.host}/lab/tool:1"
    bash(f"ch-image pull {image}; ch-convert {image} ./rootfs", CH_IMAGE_STORAGE=storage)
    script = "echo $SLURM_JOB_ID; cat /var/run/slurm/task; echo x >/written"
    done = step(DOCUMENTED, str(tmp_path / "rootfs"), "/bin/sh", "-c", script)
    assert done.stdout == "7\nof slurm\n"
    assert (tmp_path / "rootfs/written").read_text() == "x\n"


@pytest.mark.parametrize("kind", ["name", "path", "file"])
def test_images_in_place_of_a_bundle(
    bash: Callable[..., Completed],
    step: Callable[..., Completed],
    registry: InProcessRegistry,
    tmp_path: Path,
    kind: str,
) -> None:
    storage = {"CH_IMAGE_STORAGE": str(tmp_path / "storage")}
    image = f"{registry.host}/lab/tool:1"
    bash(f"ch-image pull {image}", **storage)
    if kind == "path":
        image = f"{tmp_path}/storage/img/{image.replace('/', '%').replace(':', '+')}"
        storage = {}
    elif kind == "file":
        bash(f"ch-convert {image} {tmp_path}/tool.sqfs", **storage)
        image = str(tmp_path / "tool.sqfs")
    done = step(DIRECT, image, "sh", "-c", "pwd; echo $WORDS", **storage)
    assert done.stdout == f"{tmp_path}/spool\ntwo words\n"
