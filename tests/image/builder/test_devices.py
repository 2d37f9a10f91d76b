"""RUN --device and build --device: what the command sees, and that the layer has none of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.image.builder.conftest import announced
from tests.runtime.devices.driver import VERSION, Driver, write_specification

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.image.builder.conftest import Workshop

FOLDER = "/usr/lib64/driver"
LOOK = f"ls -A {FOLDER} /opt/node 2>&1; echo $GPU; true"
GONE = f"RUN ls {FOLDER} /opt /usr/lib64 2>&1; true"
NODE = {"path": "/opt/node", "hostPath": "/dev/null"}


@pytest.fixture(scope="module")
def fake_driver(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    return Driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def cdi(fake_driver: Driver, tmp_path: Path) -> Mapping[str, str]:
    edits = fake_driver.edits(FOLDER) | {"deviceNodes": [NODE]}
    devices = {"0": {"env": ["GPU=0"]}, "1": {"env": ["GPU=1"]}, "all": {"env": ["GPU=all"]}}
    write_specification(tmp_path / "cdi" / "gpu.json", edits, devices)
    return {"CH_RUN_CDI_DIRS": str(tmp_path / "cdi")}


@pytest.mark.parametrize("force", ["seccomp", "notify"])
def test_run_sees_it_and_the_layer_has_nothing(
    any_workshop: Workshop, cdi: Mapping[str, str], force: str
) -> None:
    device = "--device=nvidia.com/gpu=all,required"
    dockerfile = f"FROM bb\nRUN {device} {LOOK}\nRUN --device=nvidia.com/gpu=1 true\n{GONE}\n"
    done = any_workshop.build(dockerfile, f"--force={force}", env=cdi)
    shown = done.stdout.splitlines()
    for name in ("libcuda.so", "libcuda.so.1", f"libcuda.so.{VERSION}", "/opt/node", "all"):
        assert name in shown
    last = shown[shown.index("all") + 1 :]
    assert [line for line in last if "libcuda" in line or line == "node"] == []
    history = any_workshop.config()["history"]
    assert [entry.get("empty_layer") for entry in history[-3:]] == [True] * 3


def test_directories_of_the_configuration(
    any_workshop: Workshop, cdi: Mapping[str, str], tmp_path: Path
) -> None:
    (tmp_path / "config" / "sundog").mkdir(parents=True, mode=0o755)
    said = f"run.cdi_dirs = ['{tmp_path}/cdi']\n"
    (tmp_path / "config" / "sundog" / "sundog.toml").write_text(said)
    (tmp_path / "config" / "sundog" / "sundog.toml").chmod(0o644)
    places = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_CACHE_HOME": str(tmp_path)}
    dockerfile = "FROM bb\nRUN --device=nvidia.com/gpu=1 echo gpu=$GPU\n"
    for variables, expected in (
        (places, "gpu=1\n"),
        (places | {"CH_RUN_CDI_DIRS": os.devnull}, "gpu=\n"),
    ):
        done = any_workshop.build(dockerfile, "--no-cache", env=variables)
        assert done.stdout == expected, done.stderr


@pytest.mark.parametrize(
    ("flag", "gpu"),
    [
        ("nvidia.com/gpu=1", "1"),
        ("nvidia.com/gpu", "0"),  # the first one
        ("nvidia.com/gpu=*", "all"),
        ("name=nvidia.com/gpu=0", None),
        ("name=nvidia.com/gpu", "0"),
        ("$KIND=1", "1"),
    ],
)
def test_names(any_workshop: Workshop, cdi: Mapping[str, str], flag: str, gpu: str | None) -> None:
    dockerfile = f"FROM bb\nARG KIND=nvidia.com/gpu\nRUN --device={flag} echo gpu=$GPU\n"
    done = any_workshop.build(dockerfile, env=cdi)
    assert done.stdout == f"gpu={'0' if gpu is None else gpu}\n"


def test_missing_devices(any_workshop: Workshop, cdi: Mapping[str, str]) -> None:
    done = any_workshop.build("FROM bb\nRUN --device=amd.com/gpu echo gpu=$GPU\n", env=cdi)
    assert done.stdout == "gpu=\n"
    assert "warning: RUN --device: no such CDI device: amd.com/gpu; RUN goes without" in done.stderr
    for flag in ("amd.com/gpu,required", "nvidia.com/gpu=9,required=true", "/dev/null,required"):
        done = any_workshop.build(f"FROM bb\nRUN --device={flag} true\n", check=False, env=cdi)
        assert done.returncode == 1, flag
        assert "CDI device" in done.stderr


def test_a_dockerfile_brings_no_specification(
    any_workshop: Workshop, cdi: Mapping[str, str], tmp_path: Path
) -> None:
    """A file in its context could mount all that the user has."""
    for name in (f"{tmp_path}/cdi/gpu.json", os.path.relpath(tmp_path / "cdi/gpu.json"), "./x"):
        dockerfile = f"FROM bb\nRUN --device={name} echo gpu=$GPU\n"
        done = any_workshop.build(dockerfile, env=cdi)
        assert done.stdout == "gpu=\n"
        assert f"not the name of a CDI device: {name}; RUN goes without it" in done.stderr


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("", "--device needs a value"),
        (",required", "--device: no name"),
        ("a/b=c,required=maybe", "--device: required is true or false, not 'maybe'"),
        ("a/b=c,x=1", "--device: no such key: x"),
    ],
)
def test_wrong_flags(any_workshop: Workshop, flag: str, message: str) -> None:
    equals = "=" if flag else ""
    done = any_workshop.build(f"FROM bb\nRUN --device{equals}{flag} true\n", check=False)
    assert done.returncode == 1
    assert f"Dockerfile:2: {message}" in done.stderr


def test_key_has_the_name_and_not_the_driver(
    any_workshop: Workshop, cdi: Mapping[str, str], tmp_path: Path
) -> None:
    dockerfile = "FROM bb\nRUN --device=nvidia.com/gpu=0 date\n"
    any_workshop.build(dockerfile, env=cdi)
    write_specification(
        tmp_path / "cdi" / "gpu.json", {"env": ["DRIVER=new"]}, {"0": {"env": ["A=1"]}}
    )
    again = any_workshop.build(dockerfile, env=cdi)
    assert again.stdout == ""
    assert [status for _, status, _ in announced(again)] == ["*", "*"]
    other = any_workshop.build(dockerfile.replace("gpu=0", "gpu"), env=cdi)
    assert other.stdout != ""


def test_option_for_all_commands(any_workshop: Workshop, cdi: Mapping[str, str]) -> None:
    dockerfile = "FROM bb\nRUN echo gpu=$GPU\nRUN stat -c %t:%T /dev/own\n"
    words = ["--device", "nvidia.com/gpu=1", "--device=/dev/zero:/dev/own", "--allow=device"]
    done = any_workshop.build(dockerfile, *words, env=cdi)
    assert done.stdout == "gpu=1\n1:5\n"
    done = any_workshop.build(
        dockerfile, "--no-cache", f"--cdi-dirs={os.devnull}", *words, check=False
    )
    assert "Dockerfile:2: no such CDI device: nvidia.com/gpu=1\n" in done.stderr
