"""Builds for other machines than this: ``--platform``, and RUN by an emulator."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sundog.image.oci.platform import Platform
from tests.conftest import base_image, command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.builder.conftest import Workshop

NO_EMULATOR = {"CH_QEMU": "/nothing"}
# Root emulation answers alike for programs of all machines.
PRIVILEGED = r"""
RUN id -u && cd /srv && touch a b && chown 33:44 a && chmod 4755 b && mknod c c 1 3 \
    && stat -c '%n %u:%g %a %F' a b c
"""
# Flag P: a program of many names knows by which one it was called.
NAMED = "RUN uname -m; sh -c 'echo $0' first\n"


@pytest.fixture
def arm(any_workshop: Workshop) -> Workshop:
    """Return a workshop that has the image ``arm``, too, with programs for aarch64."""
    any_workshop.ch_image("import", base_image("busybox-arm64"), "arm")
    return any_workshop


@pytest.mark.parametrize("force", ["seccomp", "notify", "notify,strict"])
def test_run(arm: Workshop, force: str) -> None:
    assert arm.build(f"FROM arm\n{NAMED}", f"--force={force}").stdout == "aarch64\nfirst\n"
    assert platforms(arm) == ["linux/arm64"]
    if force != "seccomp":
        there = arm.build(f"FROM arm{PRIVILEGED}", f"--force={force}").stdout
        assert there == arm.build(f"FROM bb{PRIVILEGED}", f"--force={force}").stdout
        assert "0\na 33:44 644 regular empty file\nb 0:0 4755" in there


def test_the_platform_of_a_build(arm: Workshop) -> None:
    dockerfile = "FROM arm\nARG TARGETARCH\nRUN echo for $TARGETARCH; uname -m\n"
    for words in (["--platform=linux/arm64"], ["-a", "arm64/v8"]):
        assert arm.build(dockerfile, *words, "--rebuild").stdout == "for arm64\naarch64\n"
    done = arm.build("FROM bb\n", "--platform=linux/arm64", "--pull=never", check=False)
    assert done.returncode == 1
    assert "not for linux/arm64" in done.stderr
    for words, said in (
        (["--platform=linux/arm64,linux/amd64", "--iidfile=x"], "--iidfile: 2 platforms"),
        (["--platform=arm64", "--platform=amd64", "-oout"], "out has place for one platform"),
        (["--platform=arm64", "-a", "arm64"], "--platform and --arch say the same"),
        (["--platform="], "--arch: no architecture"),
    ):
        done = arm.build("FROM bb\n", *words, check=False)
        assert (done.returncode, said in done.stderr, "hint: " in done.stderr) == (2, True, True)


def test_several_platforms(arm: Workshop) -> None:
    """Each base is the one for the platform, and one name gets all images."""
    arm.ch_image("import", "-a", "arm64", base_image("busybox-arm64"), "bb")
    done = arm.build("FROM bb\nRUN uname -m\n", "--platform=local,linux/arm64")
    assert done.stdout == f"{os.uname().machine}\naarch64\n"
    assert sorted(platforms(arm)) == sorted([str(Platform.of_host()), "linux/arm64"])
    failed = arm.build(
        "FROM bb\nRUN test $(uname -m) = aarch64\n", "--platform=linux/arm64,local", check=False
    )
    assert failed.returncode == 1
    assert "platform: linux/arm64" in failed.stderr


def test_a_stage_of_this_machine_runs_no_emulator(arm: Workshop) -> None:
    """A cross-compiler runs here, and the stage that only copies its result runs nothing."""
    dockerfile = (
        "FROM --platform=$BUILDPLATFORM bb AS compiler\n"
        "ARG TARGETARCH\n"
        "RUN uname -m && echo $TARGETARCH >/result\n"
        "FROM arm\n"
        "COPY --from=compiler /result /\n"
        "WORKDIR /srv\n"
    )
    done = arm.build(dockerfile, "--platform=linux/arm64", env=NO_EMULATOR)
    assert f"{os.uname().machine}\n" in done.stdout
    assert platforms(arm) == ["linux/arm64"]
    assert arm.build("FROM arm\nRUN :\n", check=False, env=NO_EMULATOR).returncode == 1


def test_no_emulator(arm: Workshop, tmp_path: Path) -> None:
    """Each way to have none is one line, with one remedy."""
    dynamic, wrong = tmp_path / "dynamic", tmp_path / "wrong"
    dynamic.mkdir()
    shutil.copy(sys.executable, dynamic / "qemu-aarch64")
    shutil.copy("/bin/busybox", wrong)
    cases: list[tuple[dict[str, str], str]] = [
        ({"PATH": "/nothing"}, "no emulator for programs of aarch64: no qemu-aarch64 in $PATH"),
        ({"CH_QEMU": str(dynamic)}, f"{dynamic}/qemu-aarch64 is no static program"),
        ({"CH_QEMU": str(wrong)}, f"{wrong} does not run programs of aarch64: a trial failed"),
        ({"CH_QEMU": str(tmp_path / "none")}, f"{tmp_path}/none: No such file or directory"),
    ]
    for env, said in cases:
        done = arm.build("FROM arm\nRUN :\n", check=False, env=env)
        assert done.returncode == 1
        assert said in done.stderr
        assert done.stderr.count("error: ") == done.stderr.count("hint: ") == 1


def test_an_emulator_that_is_registered_already(arm: Workshop) -> None:
    """Nothing is registered then, so nothing is hidden."""
    start = f"""
import os, sys
from sundog.runtime.container.binfmt import Emulator
from sundog.runtime.container.enter import enter_namespaces
enter_namespaces(0, 0)
kept = Emulator("aarch64", {os.fsencode(emulator())!r}).open().register()
os.set_inheritable(kept, True)
os.environ["PATH"] = "/nothing"
os.execv(sys.argv[1], sys.argv[1:])
"""
    (arm.context / "Dockerfile").write_text("FROM arm\nRUN uname -m\n")
    storage = arm.ch_image("gestalt", "storage-path").stdout.strip()
    line = [*command("ch-image"), "build", "-t", "x", str(arm.context)]
    done = subprocess.run(
        [sys.executable, "-c", start, *line],
        env=os.environ | {"CH_IMAGE_STORAGE": storage, "CH_QEMU": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "aarch64\n", done.stderr


def platforms(workshop: Workshop) -> list[str]:
    """Return the platforms of the image that a build has made."""
    listed = json.loads(workshop.ch_image("list", "-l", "--format=json", "img").stdout)
    return [each["platform"] for each in listed]


def emulator() -> str:
    """Return the path of QEMU's program for aarch64, which all tests here need."""
    found = shutil.which("qemu-aarch64")
    assert found is not None, "as root: apt-get install qemu-user"
    return found
