"""An image whose RUN and command try every way out: they reach nothing of the host.

``programs/`` has the attacks, and ``outside`` has the canaries.  Tables here list what ``ch-run``
shares by design, and what a RUN reaches nevertheless: neither more nor less.
"""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command, run_program
from tests.hostile.outside import Outside, named, verdicts
from tests.runtime.launcher.conftest import make_image

if TYPE_CHECKING:
    from tests.conftest import Completed, Runner

PROGRAMS = Path(__file__).with_name("programs")

# The names of all attacks, in the order of their execution.
CASES = tuple(
    name
    for source in ("descriptors", "processes", "mounts", "terminals", "kernel", "neighbours")
    for name in re.findall(r'^    \{"([a-z0-9-]+)", ', (PROGRAMS / f"{source}.c").read_text(), re.M)
)

# RUN has the user's network.  It can change limits and priorities of the process beside it; the end
# of that process is RUN's own end.
REACHED_BY_RUN = {"loopback", "limits", "scheduling"}
# Without a PID namespace, it sees the user's processes.
REACHED_WITHOUT_PIDS = {*REACHED_BY_RUN, "proc-settings"}


@dataclass(frozen=True, slots=True)
class Site:
    """The place of a RUN's attack: storage with the image ``base``, and the canaries."""

    storage: Path
    scratch: Path
    attacker: Path
    outside: Outside

    def context(self, *more: str, options: str = "") -> Path:
        """Make a build context whose RUN, with ``options``, attacks."""
        context = self.scratch / "context"
        context.mkdir()
        shutil.copy(self.attacker, context / "attacker")
        words = ", ".join(f'"{word}"' for word in ["/attacker", *self.outside.arguments(), *more])
        text = f"FROM base\nCOPY attacker /attacker\nRUN {options} [{words}]\n"
        (context / "Dockerfile").write_text(text)
        return context


@pytest.fixture
def site(
    run_ch_image: Runner, storage: Path, busybox_tree: Path, attacker: Path, outside: Outside
) -> Site:
    shutil.copy(attacker, busybox_tree / "attacker")
    run_ch_image("import", busybox_tree, "base")
    outside.watch(*sorted((storage / "layers").iterdir()))
    return Site(storage, storage.parent, attacker, outside)


def reached(done: Completed, outside: Outside) -> set[str]:
    """Return the reached canaries, if all attacks ran and none printed the secret."""
    text = done.stdout + done.stderr
    assert outside.token not in text.replace(outside.abstract, "")
    return judged(text)


def judged(text: str) -> set[str]:
    """Return the reached canaries, if all attacks ran."""
    assert set(verdicts(text)) == set(CASES), text
    assert not named(text, "hung"), text
    assert not named(text, "died"), text
    found = named(text, "REACHED")
    print(found)
    return set(found)


@pytest.mark.parametrize("mode", ["seccomp", "notify", "none"])
def test_run(driver: str, mode: str, run_ch_image: Runner, site: Site) -> None:
    assert driver
    context = site.context()
    site.outside.watch(context)
    done = run_ch_image("build", f"--force={mode}", "-t", "img", context)
    assert reached(done, site.outside) == REACHED_BY_RUN
    site.outside.check()


WITHOUT_PID_NAMESPACES = """
import os, sys
from sundog.runtime.container.enter import enter_namespaces
enter_namespaces(0, 0)
with open("/proc/sys/user/max_pid_namespaces", "w") as limit:
    limit.write("0")
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("mode", ["seccomp", "none"])
def test_run_without_a_pid_namespace(mode: str, site: Site) -> None:
    context = site.context("sees_victim=1")
    build = [*command("ch-image"), "build", f"--force={mode}", "-t", "img", str(context)]
    done = run_program(
        [sys.executable, "-c", WITHOUT_PID_NAMESPACES, *build],
        env={"CH_IMAGE_STORAGE": str(site.storage)},
    )
    assert reached(done, site.outside) == REACHED_WITHOUT_PIDS
    site.outside.check()


@pytest.mark.parametrize("mode", ["seccomp", "notify"])
def test_modify(mode: str, run_ch_image: Runner, site: Site) -> None:
    words = " ".join(["/attacker", *site.outside.arguments()])
    done = run_ch_image("modify", f"--force={mode}", "-c", words, "base", "img", cwd=site.scratch)
    assert reached(done, site.outside) == REACHED_BY_RUN
    site.outside.check()


LENT = (
    "bind,target=/ctx",
    "bind,from=base,target=/base",
    "cache,target=/cache",
    "secret,id=s,target=/run/secrets/s",
    "ssh",
    "tmpfs,target=/t",
)


@pytest.mark.parametrize("mode", ["seccomp", "notify", "none"])
def test_run_with_mounts(driver: str, mode: str, run_ch_image: Runner, site: Site) -> None:
    """The mounts of a build are read-only, or copies; and they lead no further."""
    assert driver
    context = site.context("lent=/ctx", options=" ".join(f"--mount=type={one}" for one in LENT))
    (context / "file").write_text("the user's\n")
    secret = site.scratch / "told"
    secret.write_text("told to this RUN\n")
    site.outside.watch(context)
    done = run_ch_image(
        *("build", f"--force={mode}", "--ssh", f"default={site.outside.socket}", "-t", "img"),
        *("--secret", f"id=s,src={secret}", context),
    )
    assert reached(done, site.outside) == REACHED_BY_RUN
    site.outside.check()
    assert secret.read_text() == "told to this RUN\n"


def test_run_without_a_network(run_ch_image: Runner, site: Site) -> None:
    done = run_ch_image("build", "-t", "img", site.context(options="--network=none"))
    # It owns a network of its own.
    own = {"network-settings", "proc-sys"}
    assert reached(done, site.outside) == REACHED_BY_RUN - {"loopback"} | own
    assert "/proc/sys/net/" in named(done.stdout, "REACHED")["proc-sys"]
    site.outside.check()


# ``ch-run`` shares these by design.  Processes: what one user namespace allows another.  A program
# can signal the user's processes and slow them down, but can't read, trace or join them.  Also:
# sockets and the network, IPC, keys, /dev and its terminals, into which nothing can be typed.
SHARED = {
    *("proc-settings", "limits", "scheduling", "signal-zero", "signal-victim"),
    *("terminal-by-name", "ptmx", "devices-of-the-host", "dev-shm"),
    *("abstract-socket", "abstract-datagram", "loopback"),
    *("sysv-shared-memory", "sysv-semaphores", "sysv-messages", "posix-messages"),
    "keys-by-number",
}
# A site may also have given the user parts of /sys, such as his control group.
PERHAPS = {"sys-files"}
WAYS = {
    "plain": (),
    "root": ("-u0", "-g0"),
    "seccomp": ("--seccomp",),
    "notify": ("--notify",),
    "overlaid": ("-W", "-u0"),
    "fast": ("-W", "--notify"),
    "written": ("-w",),
}
FAST = {"SUNDOG_FAST_PATH": "yes"}


@pytest.fixture
def image(tmp_path: Path, attacker: Path) -> Path:
    """Make a directory of an image with the attacker in it."""
    path = make_image(tmp_path / "image")
    shutil.copy(attacker, path / "attacker")
    return path


@pytest.mark.parametrize("way", WAYS)
def test_command_in_a_directory(
    way: str, run_ch_run: Runner, image: Path, outside: Outside
) -> None:
    if way != "written":
        outside.watch(image)
    words = ["/attacker", *outside.arguments(kill_ours=False)]
    env = FAST if way == "fast" else {}
    done = run_ch_run("--private-tmp", *WAYS[way], image, "--", *words, env=env)
    assert judged(done.stdout) - PERHAPS == SHARED
    outside.check(shares=True)


@pytest.mark.parametrize(
    ("start", "way"),
    [
        *(("python", way) for way in ("root", "notify", "overlaid")),
        *(("compiled", way) for way in ("root", "overlaid")),
    ],
)
def test_command_in_an_image_by_name(
    *, driver: str, start: str, way: str, run_ch_run: Runner, site: Site
) -> None:
    """The trees in the storage directory belong to the user, and no program can write to them."""
    assert driver
    options = ("--private-tmp", *WAYS[way], "base", "--")
    run_ch_run(*options, "/no-such-command", check=False)  # it leaves the accounts
    site.outside.watch(site.storage)
    words = ["/attacker", *site.outside.arguments(kill_ours=False)]
    done = run_ch_run(*options, *words, env={"SUNDOG_START": start})
    assert judged(done.stdout) - PERHAPS == SHARED
    site.outside.check(shares=True)


@pytest.mark.parametrize("way", ["plain", "notify", "overlaid"])
def test_a_working_directory_that_is_a_descriptor(
    way: str, run_ch_run: Runner, image: Path, outside: Outside
) -> None:
    """No descriptor of the host that ``ch-run`` has can be entered, and no directory above it."""
    words = ["--", "/attacker", f"canary={outside.secret}", "only=dot-dot"]
    for fd in range(3, 16):
        (image / "way").unlink(missing_ok=True)
        (image / "way").symlink_to(f"/proc/self/fd/{fd}")
        done = run_ch_run("--private-tmp", "-c/way", *WAYS[way], image, *words, check=False)
        assert done.returncode != 0, done.stdout
        assert "can't cd to /way: " in done.stderr
