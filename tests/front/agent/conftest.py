"""``sundog agent``, and containers of real runtimes whose filter it supervises."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scripts import runtimes

from sundog.base.record.owners import OwnerRecord, pack_owners
from tests.conftest import Completed, command, run_program, until

if TYPE_CHECKING:
    from collections.abc import Generator

# By path: what the base image says about files.
OWNERS = {
    b"etc/shadow": OwnerRecord("f", 0, 42),
    b"srv": OwnerRecord("d", 7, 8),
}


@pytest.fixture
def rootfs(tmp_path: Path, busybox_tree: Path) -> Path:
    """Return a root with records of its own."""
    (busybox_tree / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nada:x:12:34::/:/bin/sh\n")
    (busybox_tree / "etc/group").write_text("root:x:0:\nada:x:34:\n")
    (busybox_tree / "etc/shadow").touch(0o640)
    (busybox_tree / "ch").mkdir()
    (busybox_tree / "ch/owners").write_bytes(pack_owners(OWNERS))
    return busybox_tree


@dataclass
class RunningAgent:
    """An agent, and what it has printed."""

    socket: Path
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def printed(self) -> str:
        """What it has printed so far."""
        return self.log.read_text()

    def supervisors(self) -> list[int]:
        """Return the processes that supervise containers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in children.read_text().split()]


@dataclass
class Agents:
    """Starts agents."""

    directory: Path
    started: list[RunningAgent] = field(default_factory=list)

    def start(
        self, *options: str, socket: Path | None = None, within: tuple[str, ...] = ()
    ) -> RunningAgent:
        """Start an agent, and wait until it listens.

        ``within`` is the command that runs the agent, as its first words.
        """
        # Paths of sockets are short.
        socket = socket or Path(os.environ["XDG_RUNTIME_DIR"], "sundog-agent.sock")
        log = self.directory / f"agent{len(self.started)}.log"
        before = socket.lstat().st_ino if socket.exists() else 0
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*within, *command("sundog"), "agent", f"--socket={socket}", *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        agent = RunningAgent(socket, process, log)
        self.started.append(agent)

        def listens() -> bool:
            assert process.poll() is None, agent.printed
            return socket.exists() and socket.lstat().st_ino != before

        until(listens, "the agent does not listen")
        return agent


@pytest.fixture
def agents(tmp_path: Path) -> Generator[Agents]:
    """Return what starts agents; all of them end with the test."""
    agents = Agents(tmp_path)
    yield agents
    for agent in agents.started:
        if agent.process.poll() is None:
            agent.process.send_signal(signal.SIGTERM)
        agent.process.wait(timeout=30)


@pytest.fixture
def agent(agents: Agents) -> RunningAgent:
    """Return an agent."""
    return agents.start()


@dataclass
class Runtimes:
    """Runs containers on a root, whose filter an agent supervises."""

    directory: Path
    rootfs: Path

    def bundle(self, name: str, socket: Path, *argv: str, options: tuple[str, ...] = ()) -> Path:
        """Return a bundle whose profile ``sundog agent --bundle`` made."""
        bundle = self.directory / name
        bundle.mkdir()
        config = runtimes.configuration(str(self.rootfs), argv, os.getuid(), os.getgid())
        runtimes.write_bundle(bundle, config)
        words = ["agent", "--bundle", str(bundle), f"--socket={socket}", *options]
        run_program([*command("sundog"), *words])
        return bundle

    def argv(self, runtime: str, *words: str) -> list[str]:
        """Return the command line of a runtime."""
        return runtimes.runtime(runtime, self.directory, words, os.getuid(), os.getgid())

    def run(self, runtime: str, bundle: Path, *, name: str = "", check: bool = True) -> Completed:
        """Run the container of a bundle."""
        argv = self.argv(runtime, "run", f"--bundle={bundle}", name or bundle.name)
        return run_program(argv, check=check)

    def podman(
        self, runtime: str, profile: tuple[str, ...], *argv: str, image: bool = False
    ) -> Completed:
        """Run a container by podman on the root, or on an image of it, on an overlay.

        ``profile`` has options of ``sundog agent --profile``.
        """
        state = self.directory / "podman"
        state.mkdir(exist_ok=True)
        file = state / "profile.json"
        file.write_text(run_program([*command("sundog"), "agent", "--profile", *profile]).stdout)
        variables = runtimes.podman_variables(state)
        driver = "overlay" if image else "vfs"

        def run(*words: str) -> Completed:
            ids = os.getuid(), os.getgid()
            line = runtimes.podman(runtime, state, words, *ids, driver=driver)
            try:
                return run_program(line, env=variables)
            finally:
                end_podman(state)

        root = ["--rootfs", str(self.rootfs)]
        try:
            if image:
                tar = str(state / "image.tar")
                run_program(["tar", "-C", self.rootfs, "-cf", tar, "."])
                run("import", "--quiet", tar, "made")
                root = ["made"]
            return run("run", "--rm", f"--security-opt=seccomp={file}", *root, *argv)
        finally:
            shutil.rmtree(state, ignore_errors=True)


def end_podman(state: Path) -> None:
    """End the process that keeps podman's user namespace: each command of podman starts one."""
    for file in state.glob("xdg/libpod/tmp/pause.pid"):
        os.kill(int(file.read_text()), signal.SIGKILL)
        file.unlink()


@pytest.fixture
def containers(tmp_path: Path, rootfs: Path) -> Runtimes:
    """Return what runs containers on ``rootfs``."""
    return Runtimes(tmp_path, rootfs)
