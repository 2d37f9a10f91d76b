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
