"""BEE's use of Charliecloud's commands: its gate for versions, its lines, what it reads."""

from __future__ import annotations

import getpass
import re
from typing import TYPE_CHECKING

import pytest

from sundog import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Completed
    from tests.image.registry.servers import InProcessRegistry

LEAST_VERSION = (0, 32)


@pytest.fixture
def bee(bash: Callable[..., Completed], tmp_path: Path) -> Callable[..., Completed]:
    """Run a line in BEE's environment, which has the user's storage directory."""

    def run(line: str, *, check: bool = True, **env: str) -> Completed:
        return bash(line, check=check, CH_IMAGE_STORAGE=str(tmp_path / "storage"), **env)

    return run


@pytest.fixture
def tool(bee: Callable[..., Completed], registry: InProcessRegistry) -> str:
    """Pull the image of a task; return its name."""
    name = f"{registry.host}/lab/tool:1"
    bee(f"ch-image pull {name}")
    return name


def test_the_gate_for_versions(bee: Callable[..., Completed]) -> None:
    done = bee("ch-run -V")
    text = (done.stdout or done.stderr).strip()
    if "pre" in text:
        text = text.split("~")[0]
    assert tuple(int(part) for part in text.split(".")) >= LEAST_VERSION
    assert text == __version__


@pytest.mark.parametrize("program", ["ch-run", "ch-image", "ch-convert"])
def test_every_command_tells_its_version_alone(bee: Callable[..., Completed], program: str) -> None:
    done = bee(f"{program} --version")
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", done.stdout + done.stderr)


@pytest.mark.parametrize("spelling", [str, lambda name: name.replace("/", "%").replace(":", "+")])
def test_a_task_from_a_pulled_image(
    bee: Callable[..., Completed],
    tool: str,
    tmp_path: Path,
    spelling: Callable[[str], str],
) -> None:
    archive, deployed = tmp_path / "archive", tmp_path / "deployed"
    bee(f"mkdir -p {archive} {deployed}")
    name = tool.replace("/", "%")
    bee(f"ch-convert -i ch-image -o tar {spelling(tool)} {archive}/{name}.tar.gz")
    bee(f"ch-convert -i tar -o dir {archive}/{name}.tar.gz {deployed}/{name}")
    run = f"ch-run  {deployed}/{name}"
    assert bee(f"{run} --cd /opt/tool -- pwd").stdout == "/opt/tool\n"
    # Options follow IMAGE; -W stands between them.
    done = bee(
        f"ch-run --set-env={deployed}/{name}/ch/environment --set-env=K=V -b {archive}:/mnt "
        f"{deployed}/{name} -W -b {archive}:/data -- sh -c 'echo $TOOL $K; ls /mnt /data'"
    )
    assert done.stdout == f"yes V\n/data:\n{name}.tar.gz\n\n/mnt:\n{name}.tar.gz\n"
    # Without "--": the command's own words are no options.
    (archive / "server.conf").write_text("port 1\n")
    done = bee(f"ch-run --bind={archive}:/mnt {deployed}/{name} cat /mnt/server.conf")
    assert done.stdout == "port 1\n"
    bee(f"rm -rf {deployed}/{name}")


def test_a_task_in_the_users_home(bee: Callable[..., Completed], tool: str, tmp_path: Path) -> None:
    """BEE replaces $HOME by /home/$USER in paths that it gives to --cd."""
    home, user = tmp_path / "homes" / "x", getpass.getuser()
    (home / "work").mkdir(parents=True)
    bee(f"ch-convert {tool} ./deployed")
    done = bee(
        f"ch-run  ./deployed --home --cd /home/{user}/work -- sh -c 'pwd; touch made'",
        HOME=str(home),
        USER=user,
    )
    assert done.stdout == f"/home/{user}/work\n"
    assert (home / "work/made").exists()


@pytest.mark.parametrize("suffix", ["squash", "squashfs", "sqfs"])
def test_images_that_are_one_file(
    bee: Callable[..., Completed], tool: str, tmp_path: Path, suffix: str
) -> None:
    image = tmp_path / f"tool.{suffix}"
    bee(f"ch-convert {tool} {image}")
    assert image.read_bytes()[:4] == b"hsqs"
    done = bee(f"ch-run  {image} --cd /opt/tool -b {tmp_path}:/mnt -- sh -c 'pwd; ls /mnt'")
    assert f"tool.{suffix}" in done.stdout.splitlines()


def test_a_step_of_slurm_joins(bee: Callable[..., Completed], tool: str) -> None:
    """BEE gives --join to tasks with MPI; Slurm sets the variables."""
    step = {"SLURM_STEP_ID": "7", "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_CPUS_ON_NODE": "2"}
    line = f"ch-run --join {tool}  -- readlink /proc/self/ns/mnt"
    done = bee(f"{line} & {line} & wait", **step)
    first, second = done.stdout.splitlines()
    assert first == second


def test_builds(bee: Callable[..., Completed], tool: str, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile.tool").write_text(f"FROM {tool}\nRUN echo built >/built\n")
    bee(f"ch-image build -t some/tool --force seccomp -f {context}/Dockerfile.tool {context}")
    bee(f"cd {context} && ch-image build -f Dockerfile.tool -t other .")
    assert bee("ch-run some%tool -- cat /built").stdout == "built\n"
    # The list has one name on each line, as BEE wrote it.
    images = [line for line in bee("ch-image list").stdout.split("\n") if line]
    assert images == sorted([tool, "some/tool", "other"])
    bee("ch-image delete other")
    assert "other" not in bee("ch-image list").stdout.split("\n")
    assert bee("ch-image delete other", check=False).returncode == 1
