"""Names that lead each process to itself never lead the supervisor to itself: ``links.c``.

An image makes every call with a path, by every spelling, for every descriptor that it does not
have.  The supervisor may have it, and must not find it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from resource import prlimit
from typing import TYPE_CHECKING

import pytest

from sundog.runtime.emulation.notify.tracee.tag import RLIMIT_LOCKS
from tests.conftest import children_of, command, run_program, until
from tests.front.agent import conftest as agents_of
from tests.hostile.outside import tree_digest
from tests.hostile.test_image import WITHOUT_PID_NAMESPACES
from tests.runtime.launcher.conftest import make_image

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.conftest import Completed, RootHelper, Runner
    from tests.front.agent.conftest import RunningAgent, Runtimes

# Fixtures of the tests of the agent.
agents = agents_of.agents
agent = agents_of.agent
containers = agents_of.containers
rootfs = agents_of.rootfs

LEAST_TRIED = 20_000
# Only root may do these.
PRIVILEGED = {"chroot", "a bind"}


@pytest.fixture
def image(tmp_path: Path, links: Path) -> Path:
    """Return an image to whose directories, and those above, everybody may write."""
    above = tmp_path / "above"
    above.mkdir()
    path = make_image(above / "image")
    shutil.copy(links, path / "links")
    (path / "work").mkdir()
    for directory in (path, path / "work", above):
        directory.chmod(0o777)
    return path


@pytest.fixture(autouse=True)
def untouched(tmp_path: Path) -> Generator[None]:
    """Require that nothing is made outside of containers."""
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    (outside / "file").write_text("the user's\n")
    digest = tree_digest(outside)
    yield
    assert tree_digest(outside) == digest
    made = [
        os.path.join(place, name)
        for place, directories, files in os.walk(tmp_path)
        for name in (*directories, *files)
        if name in ("made", "raced") and os.path.basename(os.path.dirname(place)) != "safe"
    ]
    assert made == []


def reached_nothing(done: Completed, skipped: set[str]) -> None:
    """Require that the program has tried everything but ``skipped``, and has reached nothing."""
    lines = done.stdout.splitlines()
    assert [line for line in lines if "REACHED" in line or "died" in line] == [], done.stdout
    assert {line.split(": ")[0][8:] for line in lines if line.startswith("skipped ")} == skipped
    tried = re.search(r"^.*tried (\d+)$", done.stdout, re.M)
    assert tried, done.stdout + done.stderr
    assert int(tried[1]) > LEAST_TRIED


FAST = {"SUNDOG_FAST_PATH": "yes"}  # it has a meaning for "overlaid"
CH_RUN = {
    "written": ("--notify", "-w", "-u0"),
    "written by its user": ("--notify", "-w"),
    "overlaid": ("--notify", "-W"),
    "strict": ("--notify=strict", "-w"),
    "joined": ("--join", "--join-tag={tag}", "--notify", "-w"),
}


@pytest.mark.parametrize("way", CH_RUN)
def test_ch_run(way: str, image: Path, run_ch_run: Runner, tmp_path: Path) -> None:
    options = [option.format(tag=tmp_path.name) for option in CH_RUN[way]]
    done = run_ch_run("-t", *options, image, "--", "/links", "/work", env=FAST)
    reached_nothing(done, set())


def test_ch_run_as_another_user(image: Path, run_ch_run: Runner) -> None:
    options = ("--notify", "-w", "-t")
    reached_nothing(run_ch_run(*options, image, "--", "/links", "/work", "5"), PRIVILEGED)


def test_supervisors_whose_mark_a_neighbour_has_removed(image: Path) -> None:
    """Programs of other containers have the user's ID, so they may change the limits."""
    words = ("-t", "--notify", "-w", image, "--", "sh", "-c", "read x; exec /links /work")
    with subprocess.Popen(
        [*command("ch-run"), *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        until(lambda: len(children_of(running.pid)) == 2)  # the command and the supervisor
        for process in children_of(running.pid):
            hard = prlimit(process, RLIMIT_LOCKS)[1]
            prlimit(process, RLIMIT_LOCKS, (hard, hard))
        output, errors = running.communicate("go\n", timeout=120)
    done = subprocess.CompletedProcess(words, running.returncode, output, errors)
    reached_nothing(done, set())


@pytest.mark.needs_root
@pytest.mark.parametrize("way", ["written", "overlaid", "joined"])
def test_directories_of_a_supervisor_are_detached(
    way: str, image: Path, tmp_path: Path, root_helper: RootHelper
) -> None:
    """ ".." leads nowhere from them: they have no path on the host."""
    options = [option.format(tag=tmp_path.name) for option in CH_RUN[way]]
    words = (
        *options,
        f"-b{tmp_path / 'outside'}:/work",
        image,
        "--",
        "sh",
        "-c",
        "echo go; read x",
    )
    with subprocess.Popen(
        [*command("ch-run"), *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"go\n"
        processes = {running.pid, *children_of(running.pid)}
        for process in list(processes):
            processes |= set(children_of(process))
        found = [root_helper.descriptors(process) for process in processes]
        running.communicate(b"\n", timeout=60)
    assert running.returncode == 0
    names = [name for descriptors in found for name in descriptors.values()]
    assert len(names) > 10
    assert [name for name in names if os.path.isdir(name) and name.startswith(f"{tmp_path}")] == []


@pytest.mark.parametrize("has_pids", [True, False])
def test_run(
    *, has_pids: bool, image: Path, run_ch_image: Runner, storage: Path, tmp_path: Path
) -> None:
    """Where a site refuses PID namespaces, the supervisor has numbers in the container's /proc."""
    run_ch_image("import", image, "base")
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(
        "FROM base\nRUN --mount=type=cache,target=/cache,mode=0777 /links /cache\n"
    )
    build = [*command("ch-image"), "build", "--force=notify", "-t", "img", str(context)]
    starter = [] if has_pids else [sys.executable, "-c", WITHOUT_PID_NAMESPACES]
    done = run_program([*starter, *build], env={"CH_IMAGE_STORAGE": str(storage)})
    reached_nothing(done, set())


def test_the_agent(image: Path, containers: Runtimes, agent: RunningAgent) -> None:
    """A container with the host's processes, as ``podman run --pid=host`` makes it."""
    shutil.copy(image / "links", containers.rootfs / "links")
    (containers.rootfs / "work").mkdir()
    bundle = containers.bundle("links", agent.socket, "/links", "/work")
    config = json.loads((bundle / "config.json").read_text())
    kinds = config["linux"]["namespaces"]
    config["linux"]["namespaces"] = [kind for kind in kinds if kind["type"] != "pid"]
    for mount in config["mounts"]:
        if mount["destination"] == "/proc":
            mount.update(type="none", source="/proc", options=["rbind"])
    (bundle / "config.json").write_text(json.dumps(config))
    # runc leaves no capability for another mount namespace.
    reached_nothing(containers.run("runc", bundle), {"a bind"})


def test_sundog_root(links: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    done = run_program([*command("sundog"), "root", "--", str(links), str(work)])
    reached_nothing(done, set())
