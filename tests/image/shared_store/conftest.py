"""Two nodes: namespaces in which one directory shows through two file systems."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Completed, command
from tests.image.pull.flavours import Flavours, certificate, running
from tests.image.shared_store import node as node_program
from tests.image.shared_store.node import forward

if TYPE_CHECKING:
    from collections.abc import Generator

Program = subprocess.Popen[str]
# What flock(2) does on a file system: each node keeps its locks to itself, or it fails.
LOCKS = {"unseen": None, "ENOLCK": errno.ENOLCK}
# Seconds until a node that has died loses its locks.
BOUND = 3


@dataclass(frozen=True)
class Node:
    """A node, with its first process ``pid``, and the directory that it shares at ``mount``."""

    name: str
    process: Program
    pid: int
    mount: Path

    @property
    def store(self) -> Path:
        """Return the path of the storage directory on the node."""
        return self.mount / "store"

    def start(self, *words: str | Path, **variables: str) -> Program:
        """Start a command of Sundog, or another program, on the node."""
        name, *arguments = map(str, words)
        program = command(name) if name.startswith("ch-") else [name]
        enter = ["nsenter", f"--target={self.pid}", "--preserve-credentials"]
        enter += ["--user", "--mount", "--net", "--uts", "--pid", "--"]
        environment = {"CH_IMAGE_STORAGE": str(self.store), "CH_IMAGE_LOCK_SECONDS": str(BOUND)}
        return subprocess.Popen(
            [*enter, *program, *arguments],
            env=_without_tmpdir() | environment | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str | Path, check: bool = True, **variables: str) -> Completed:
        """Run a command to its end; by default its failure fails the test."""
        return finished(self.start(*words, **variables), check=check)

    def die(self) -> None:
        """Kill everything on the node at once, as a power cut does."""
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait(10)


def _without_tmpdir() -> dict[str, str]:
    """Return the environment, with the usual directory for temporary files."""
    return {name: value for name, value in os.environ.items() if name != "TMPDIR"}


def finished(process: Program, *, check: bool = True, timeout: float = 120) -> Completed:
    """Wait for the end of a program; by default its failure fails the test."""
    out, err = process.communicate(timeout=timeout)
    assert not check or process.returncode == 0, (process.args, out, err)
    return Completed(process.args, process.returncode, out, err)


@dataclass
class Site:
    """A directory that nodes share, and a registry that they reach."""

    place: Path
    passthrough: Path
    registry: str
    socket: str
    stack: ExitStack

    @property
    def store(self) -> Path:
        """Return the path of the storage directory on the file server."""
        return self.place / "served" / "store"

    def node(self, name: str, locks: str = "unseen") -> Node:
        """Boot a node, on which locks are one of ``LOCKS``."""
        mount = self.place / "shared"
        mount.mkdir(exist_ok=True)
        (self.place / "served").mkdir(exist_ok=True)
        number = LOCKS[locks]
        words = [
            *("unshare", "--user", "--map-current-user", "--keep-caps", "--mount", "--net"),
            *("--uts", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *(sys.executable, "-I", node_program.__file__, name),
            *(self.registry.rpartition(":")[2], self.socket),
            *(self.passthrough, self.place / "served", mount),
            *(() if number is None else (str(number),)),
        ]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.stack.callback(_end, process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        return Node(name, process, int(children), mount)


def _end(process: Program) -> None:
    process.kill()
    process.communicate()


@pytest.fixture(scope="session")
def passthrough(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the compiled file system."""
    source = Path(__file__).with_name("passthrough.c")
    program = tmp_path_factory.mktemp("passthrough") / "passthrough"
    flags = ["-O1", "-D_FILE_OFFSET_BITS=64"]
    subprocess.run(["gcc", *flags, source, "-o", program, "-lfuse3"], check=True)
    return program


@pytest.fixture(scope="session")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Generator[Flavours]:
    """Return docker-registry."""
    tls = certificate(tmp_path_factory.mktemp("tls"))
    with running(tmp_path_factory.mktemp("registry"), tls) as found:
        yield found


@contextmanager
def reachable(registry: str) -> Generator[str]:
    """Give a Unix socket through which other network namespaces reach ``registry``."""
    host, _, port = registry.rpartition(":")
    place = tempfile.mkdtemp(prefix="registry.")
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{place}/socket")
            listener.listen(64)
            forward(listener, lambda: socket.create_connection((host, int(port))))
            yield f"{place}/socket"
    finally:
        shutil.rmtree(place)


@pytest.fixture
def site(tmp_path: Path, passthrough: Path, registries: Flavours) -> Generator[Site]:
    """Return a site without nodes; they end with the test."""
    with ExitStack() as stack:
        path = stack.enter_context(reachable(registries.http))
        yield Site(tmp_path, passthrough, registries.http, path, stack)
