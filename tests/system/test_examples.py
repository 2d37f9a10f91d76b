"""The scripts of examples/ that need no batch system; tests/cluster runs the others."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.place import CHECKOUT

from tests.conftest import command, run_program

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = CHECKOUT / "examples"
PROGRAMS = {"PATH": f"{Path(command('ch-run')[0]).parent}:/usr/bin:/bin"}


def test_gpu(storage_with_busybox: Callable[[str], Path], tmp_path: Path) -> None:
    """A specification stands for a driver: the command sees what it lists."""
    (tmp_path / "libcuda").write_text("the driver\n")
    mount = {"hostPath": f"{tmp_path}/libcuda", "containerPath": "/driver/libcuda"}
    edits = {"mounts": [{**mount, "options": ["ro", "bind"]}], "env": ["GPU=yes"]}
    device = {"name": "all", "containerEdits": edits}
    specification = {"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [device]}
    (tmp_path / "cdi").mkdir()
    storage = str(storage_with_busybox(""))
    env = PROGRAMS | {"CH_RUN_CDI_DIRS": f"{tmp_path}/cdi", "CH_IMAGE_STORAGE": storage}
    script = [
        str(EXAMPLES / "gpu/job.sh"),
        "bb",
        "sh",
        "-c",
        'cat /driver/libcuda; echo "$GPU $0"',
        "a b",
    ]
    done = run_program(script, env=env, check=False)
    assert done.returncode
    assert "no such CDI device: nvidia.com/gpu=all" in done.stderr
    (tmp_path / "cdi/gpu.json").write_text(json.dumps(specification))
    assert run_program(script, env=env).stdout == "the driver\nyes a b\n"


def test_vscode(storage_with_busybox: Callable[[str], Path], tmp_path: Path) -> None:
    """The line that ssh sends: a login shell in the image, which reads a script as VS Code's does.

    The image has no bash; its shell stands for it.
    """
    asked = run_program(["ssh", "-G", "-F", EXAMPLES / "vscode/config", "lab"]).stdout
    settings = dict(line.split(" ", 1) for line in asked.splitlines() if " " in line)
    line = settings["remotecommand"].replace(" lab ", " bb ").replace("bash", "sh")
    (tmp_path / "mine").write_text("a file of the home directory\n")
    env = os.environ | PROGRAMS | {"HOME": str(tmp_path)}
    done = subprocess.run(
        ["sh", "-c", line],
        input='cat mine; pwd; readlink -f /bin/busybox; test "$HOME" = "$PWD" && echo home\n',
        env=env | {"CH_IMAGE_STORAGE": str(storage_with_busybox(""))},
        capture_output=True,
        text=True,
        check=False,
    )
    words = ["a file of the home directory", str(tmp_path), "/bin/busybox", "home"]
    assert done.stdout.splitlines() == words, done.stderr


# What flux-batch(1) and qsub(1B) leave in the environment of a script.
FLUX = """\
#!/bin/sh
test "$1" = run || { echo 4; exit; }
test "$2" = --ntasks=4 || exit 9
shift 2
export FLUX_JOB_ID=ƒTwo FLUX_JOB_SIZE=4 FLUX_JOB_NNODES=1
for FLUX_TASK_RANK in 0 1 2 3; do export FLUX_TASK_RANK; "$@" & done
wait
"""


def shared(place: Path, count: int) -> str:
    """Return a script that prints its container when ``count`` tasks are in it."""
    return (
        f"#!/bin/sh\ntouch {place}/$$\n"
        f"until [ $(ls {place} | wc -l) = {count} ]; do sleep 0.1; done\n"
        "readlink /proc/self/ns/mnt\n"
    )


def test_flux(storage_with_busybox: Callable[[str], Path], tmp_path: Path) -> None:
    """A program stands for Flux, and starts four tasks; `make flux` has the real one."""
    (tmp_path / "flux").write_text(FLUX)
    (tmp_path / "flux").chmod(0o755)
    (tmp_path / "tasks").mkdir()
    env = {
        "PATH": f"{tmp_path}:{PROGRAMS['PATH']}",
        "CH_IMAGE_STORAGE": str(storage_with_busybox("")),
        "FLUX_URI": f"local://{tmp_path}/local-0",
        "IMAGE_FILES": str(tmp_path),
    }
    script = [str(EXAMPLES / "flux/job.sh"), "bb", "sh", "-c"]
    done = run_program(
        [*script, shared(Path("/tmp/tasks"), 4)], env={**env, "TMPDIR": str(tmp_path)}
    )
    assert len(done.stdout.split()) == 4
    assert len({*done.stdout.split()}) == 1
    assert len([*tmp_path.glob("job-*.sqfs")]) == 1


def test_pbs(storage_with_busybox: Callable[[str], Path], tmp_path: Path) -> None:
    """MPICH starts the ranks; the variables are those of a job of OpenPBS with four of them."""
    (tmp_path / "nodes").write_text("localhost\n" * 4)
    temporary = tmp_path / "tmp"  # the job's own, which is /tmp in the container
    (temporary / "tasks").mkdir(parents=True)
    (temporary / "program").write_text(shared(Path("/tmp/tasks"), 4))
    (temporary / "program").chmod(0o755)
    (tmp_path / "mpiexec").write_text('#!/bin/sh\nexec /usr/bin/mpiexec.hydra "$@"\n')
    (tmp_path / "mpiexec").chmod(0o755)
    env = {
        "CH_IMAGE_STORAGE": str(storage_with_busybox("")),
        "HYDRA_LAUNCHER": "fork",  # in a job of PBS it is ssh
        "IMAGE": "bb",
        "PROGRAM": "/tmp/program",
        "PATH": "/usr/bin:/bin",
        "PBS_ENVIRONMENT": "PBS_BATCH",
        "PBS_JOBID": "7[2].server.example.com",
        "PBS_NODEFILE": str(tmp_path / "nodes"),
        "PBS_NODENUM": "0",
        "PBS_O_PATH": f"{tmp_path}:{PROGRAMS['PATH']}",
        "PBS_O_WORKDIR": str(tmp_path),
        "PBS_TASKNUM": "1",
        "NCPUS": "1",
        "TMPDIR": str(temporary),
    }
    for _ in range(2):
        done = run_program([EXAMPLES / "pbs/job.sh"], env=env)
        assert len(done.stdout.split()) == 4
        assert len({*done.stdout.split()}) == 1
        for mark in (temporary / "tasks").iterdir():
            mark.unlink()
    assert len([*tmp_path.glob("job-*.sqfs")]) == 1
    assert (
        "no image none"
        in run_program([EXAMPLES / "pbs/job.sh"], env={**env, "IMAGE": "none"}, check=False).stderr
    )
