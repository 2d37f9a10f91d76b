"""An image whose RUN and whose command try every way out: nothing of the host's is reached.

What they try is in ``programs/``, and what stands outside in ``outside``.  What ``ch-run`` shares
by design, and what a RUN reaches nevertheless, are tables here: neither more nor less.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command, run_program
from tests.hostile.outside import Outside, named, verdicts
from tests.launcher.conftest import make_image

if TYPE_CHECKING:
    from tests.conftest import Completed, Runner

PROGRAMS = Path(__file__).with_name("programs")

# The names of all attacks, in the order in which they are tried.
CASES = tuple(
    name
    for source in ("descriptors", "processes", "mounts", "terminals", "kernel", "neighbours")
    for name in re.findall(r'^    \{"([a-z0-9-]+)", ', (PROGRAMS / f"{source}.c").read_text(), re.M)
)

# RUN has the user's network; and limits and priorities of the process beside it, the end of which
# is its own end.
REACHED_BY_RUN = {"loopback", "limits", "scheduling"}
# Over a network of its own it is root: those settings are its own.
REACHED_WITH_A_NETWORK_OF_ITS_OWN = {"limits", "network-settings", "proc-sys", "scheduling"}
# Without a PID namespace it sees the user's processes.
REACHED_WITHOUT_PIDS = {*REACHED_BY_RUN, "proc-settings"}


def dockerfile(context: Path, attacker: Path, outside: Outside, *more: str) -> Path:
    """Make a build context whose RUN attacks."""
    context.mkdir(exist_ok=True)
    (context / "attacker").write_bytes(attacker.read_bytes())
    (context / "attacker").chmod(0o755)
    words = ", ".join(f'"{word}"' for word in ["/attacker", *outside.arguments(), *more])
    (context / "Dockerfile").write_text(f"FROM base\nCOPY attacker /attacker\nRUN [{words}]\n")
    return context


def layers(storage: Path) -> list[Path]:
    """Return the directories of the layers that are there."""
    return sorted((storage / "layers").iterdir())


def reached(done: Completed, outside: Outside) -> set[str]:
    """Return what was reached, if all attacks were made, and none told the secret."""
    text = done.stdout + done.stderr
    assert outside.token not in text.replace(outside.abstract, "")
    return judged(text)


def judged(text: str) -> set[str]:
    """Return what was reached, if all attacks were made."""
    assert set(verdicts(text)) == set(CASES), text
    assert not named(text, "hung"), text
    assert not named(text, "died"), text
    found = named(text, "REACHED")
    print(found)
    return set(found)


@pytest.mark.parametrize("mode", ["seccomp", "notify", "none"])
def test_run(
    driver: str,
    mode: str,
    run_ch_image: Runner,
    storage: Path,
    tmp_path: Path,
    busybox_tar: Path,
    attacker: Path,
    outside: Outside,
) -> None:
    assert driver
    run_ch_image("import", busybox_tar, "base")
    outside.watch(*layers(storage))
    context = dockerfile(tmp_path / "context", attacker, outside)
    outside.watch(context)
    done = run_ch_image("build", f"--force={mode}", "-t", "img", context)
    assert reached(done, outside) == REACHED_BY_RUN
    outside.check()


WITHOUT_PID_NAMESPACES = """
import os, sys
from sundog.launcher.enter import enter_namespaces
enter_namespaces(0, 0)
with open("/proc/sys/user/max_pid_namespaces", "w") as limit:
    limit.write("0")
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("mode", ["seccomp", "none"])
def test_run_without_a_pid_namespace(
    mode: str,
    run_ch_image: Runner,
    storage: Path,
    tmp_path: Path,
    busybox_tar: Path,
    attacker: Path,
    outside: Outside,
) -> None:
    run_ch_image("import", busybox_tar, "base")
    outside.watch(*layers(storage))
    context = dockerfile(tmp_path / "context", attacker, outside, "sees_victim=1")
    done = run_program(
        [sys.executable, "-c", WITHOUT_PID_NAMESPACES]
        + [*command("ch-image"), "build", f"--force={mode}", "-t", "img", str(context)],
        env={"CH_IMAGE_STORAGE": str(storage)},
    )
    assert reached(done, outside) == REACHED_WITHOUT_PIDS
    outside.check()


@pytest.mark.parametrize("mode", ["seccomp", "notify"])
def test_modify(
    mode: str,
    run_ch_image: Runner,
    storage: Path,
    tmp_path: Path,
    busybox_tree: Path,
    attacker: Path,
    outside: Outside,
) -> None:
    (busybox_tree / "attacker").write_bytes(attacker.read_bytes())
    (busybox_tree / "attacker").chmod(0o755)
    run_ch_image("import", busybox_tree, "base")
    outside.watch(*layers(storage))
    words = " ".join(["/attacker", *outside.arguments()])
    done = run_ch_image("modify", f"--force={mode}", "-c", words, "base", "img", cwd=tmp_path)
    assert reached(done, outside) == REACHED_BY_RUN
    outside.check()


@pytest.mark.parametrize("mode", ["seccomp", "notify", "none"])
def test_run_with_mounts(
    driver: str,
    mode: str,
    run_ch_image: Runner,
    storage: Path,
    tmp_path: Path,
    busybox_tar: Path,
    attacker: Path,
    outside: Outside,
) -> None:
    """What a build lends is for reading, or a copy; and it leads no further."""
    assert driver
    run_ch_image("import", busybox_tar, "base")
    context = dockerfile(tmp_path / "context", attacker, outside, "lent=/ctx")
    (context / "file").write_text("the user's\n")
    text = (context / "Dockerfile").read_text()
    mounts = " ".join(
        f"--mount=type={mount}"
        for mount in (
            "bind,target=/ctx",
            "bind,from=base,target=/base",
            "cache,target=/cache",
            "secret,id=s,target=/run/secrets/s",
            "ssh",
            "tmpfs,target=/t",
        )
    )
    (context / "Dockerfile").write_text(text.replace("RUN [", f"RUN {mounts} ["))
    secret = tmp_path / "told"
    secret.write_text("told to this RUN\n")
    outside.watch(context, *layers(storage))
    done = run_ch_image(
        *("build", f"--force={mode}", "--ssh", f"default={outside.socket}", "-t", "img"),
        *("--secret", f"id=s,src={secret}", context),
    )
    assert reached(done, outside) == REACHED_BY_RUN
    outside.check()
    assert secret.read_text() == "told to this RUN\n"


def test_run_without_a_network(
    run_ch_image: Runner, tmp_path: Path, busybox_tar: Path, attacker: Path, outside: Outside
) -> None:
    run_ch_image("import", busybox_tar, "base")
    context = dockerfile(tmp_path / "context", attacker, outside)
    text = (context / "Dockerfile").read_text()
    (context / "Dockerfile").write_text(text.replace("RUN [", "RUN --network=none ["))
    done = run_ch_image("build", "-t", "img", context)
    assert reached(done, outside) == REACHED_WITH_A_NETWORK_OF_ITS_OWN
    outside.check()


# What ``ch-run`` shares by design: of the user's processes what one user namespace lets another do
# (he may be signalled and slowed down; nothing of his can be read, traced or joined), sockets and
# the network, IPC, keys, /dev and its terminals, in which nothing can be typed.
SHARED = {
    *("proc-settings", "limits", "scheduling", "signal-zero", "signal-victim"),
    *("terminal-by-name", "ptmx", "devices-of-the-host", "dev-shm"),
    *("abstract-socket", "abstract-datagram", "loopback"),
    *("sysv-shared-memory", "sysv-semaphores", "sysv-messages", "posix-messages"),
    "keys-by-number",
}
# And what of /sys a site may have given to the user, such as his control group.
PERHAPS = {"sys-files"}
WAYS = {
    "plain": (),
    "root": ("-u0", "-g0"),
    "seccomp": ("--seccomp",),
    "notify": ("--notify",),
    "overlaid": ("-W", "-u0"),
    "written": ("-w",),
}


@pytest.fixture
def image(tmp_path: Path, attacker: Path) -> Path:
    """Make a directory of an image that holds the attacker."""
    path = make_image(tmp_path / "image")
    (path / "attacker").write_bytes(attacker.read_bytes())
    (path / "attacker").chmod(0o755)
    return path


@pytest.mark.parametrize("way", WAYS)
def test_command_in_a_directory(way: str, run_ch_run: Runner, image: Path, outside: Outside) -> None:
    if way != "written":
        outside.watch(image)
    words = ["/attacker", *outside.arguments(kill_ours=False)]
    done = run_ch_run("--private-tmp", *WAYS[way], image, "--", *words)
    assert judged(done.stdout) - PERHAPS == SHARED
    outside.check(shares=True)


@pytest.mark.parametrize("way", ["root", "notify", "overlaid"])
def test_command_in_an_image_by_name(
    driver: str,
    way: str,
    run_ch_image: Runner,
    run_ch_run: Runner,
    storage: Path,
    image: Path,
    outside: Outside,
) -> None:
    """The trees in the storage directory are the user's own, and nobody can write to them."""
    assert driver
    run_ch_image("import", image, "img")
    outside.watch(storage)
    words = ["/attacker", *outside.arguments(kill_ours=False)]
    done = run_ch_run("--private-tmp", *WAYS[way], "img", "--", *words)
    assert judged(done.stdout) - PERHAPS == SHARED
    outside.check(shares=True)


@pytest.mark.parametrize("way", ["plain", "notify", "overlaid"])
def test_a_working_directory_that_is_a_descriptor(
    way: str, run_ch_run: Runner, image: Path, outside: Outside
) -> None:
    """None of those that ``ch-run`` has of the host can be entered, nor what is above them."""
    words = ["--", "/attacker", f"canary={outside.secret}", "only=dot-dot"]
    for fd in range(3, 16):
        (image / "way").unlink(missing_ok=True)
        (image / "way").symlink_to(f"/proc/self/fd/{fd}")
        done = run_ch_run("--private-tmp", "-c/way", *WAYS[way], image, *words, check=False)
        assert done.returncode != 0, done.stdout
        assert "can't cd to /way: " in done.stderr
