"""Bundles of static programs, and ``ch-run-oci`` with a state directory of its own."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import command, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

APPLETS = "cat df echo env false grep head hostname id ifconfig kill ls mount ps pwd readlink"
APPLETS += " sh sleep stat stty sysctl tail wc test touch trap true tty umask umount"

Json = dict[str, Any]

NAMESPACES = ("user", "mount", "pid", "ipc", "uts")

CONFIG: Json = {
    "ociVersion": "1.2.0",
    "process": {
        "args": ["sh", "-c", "true"],
        "env": ["PATH=/bin", "HOME=/"],
        "cwd": "/",
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "oci-test",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {
            "destination": "/sys",
            "type": "sysfs",
            "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nodev"]},
    ],
    "linux": {"namespaces": [{"type": kind} for kind in NAMESPACES]},
}


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root file system of busybox, which no test changes."""
    path = tmp_path_factory.mktemp("rootfs")
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (path / name).mkdir()
    (path / "bin/busybox").write_bytes(Path("/usr/bin/busybox").read_bytes())
    (path / "bin/busybox").chmod(0o755)
    for applet in APPLETS.split():
        (path / "bin" / applet).symlink_to("busybox")
    (path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nada:x:12:34::/home/ada:/x\n")
    (path / "etc/group").touch()
    return path


@dataclass(frozen=True)
class Done:
    """A command that has ended.  Its output goes to files, because a container keeps it open."""

    status: int
    stdout: str
    stderr: str

    def messages(self) -> list[Json]:
        """Return the lines of --log-format json, among those of the container."""
        return [json.loads(line) for line in self.stderr.splitlines() if line[:1] == "{"]

    def json(self) -> Any:
        """Return what was printed."""
        return json.loads(self.stdout)


@dataclass
class Runtime:
    """``ch-run-oci`` for one test."""

    directory: Path
    root: Path

    def __call__(
        self,
        *words: str | Path,
        check: bool = True,
        options: Sequence[str] = ("--log-format", "json"),
        env: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Done:
        """Run a command; by default, its failure fails the test."""
        argv = [*self.argv(), *options, *map(str, words)]
        out, err = self.directory / "stdout", self.directory / "stderr"
        with out.open("w") as stdout, err.open("w") as stderr:
            status = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=os.environ | dict(env or {}),
                timeout=60,
                check=False,
                **more,
            ).returncode
        done = Done(status, out.read_text(), err.read_text())
        assert not check or status == 0, done
        return done

    def argv(self) -> list[str]:
        """Return the start of a command line."""
        return [*command("ch-run-oci"), "--root", str(self.root)]

    def output(self) -> str:
        """Return what the last container has written, so far, to standard output."""
        return (self.directory / "stdout").read_text()

    def status(self, container: str) -> str:
        """Return the status of a container."""
        done = subprocess.run([*self.argv(), "state", container], capture_output=True, check=True)
        return str(json.loads(done.stdout)["status"])

    def await_status(self, container: str, wanted: str) -> None:
        """Wait until a container has the status."""
        until(lambda: self.status(container) == wanted)


@pytest.fixture
def oci(tmp_path: Path) -> Iterator[Runtime]:
    """Return the runtime; kill the containers that a test has left."""
    runtime = Runtime(tmp_path, tmp_path / "state")
    yield runtime
    if runtime.root.is_dir():
        for path in runtime.root.iterdir():
            runtime("delete", "--force", path.name, check=False)


@pytest.fixture
def bundle(tmp_path: Path, rootfs: Path) -> Callable[..., Path]:
    """Return the function that makes a bundle whose container runs a shell script.

    ``change`` gets the configuration and changes it.
    """

    def make(
        script: str = "true", change: Callable[[Json], object] | None = None, name: str = "bundle"
    ) -> Path:
        path = tmp_path / name
        path.mkdir(exist_ok=True)
        config = copy.deepcopy(CONFIG)
        config["root"]["path"] = str(rootfs)
        config["process"]["args"] = ["sh", "-c", script]
        if change is not None:
            change(config)
        (path / "config.json").write_text(json.dumps(config))
        return path

    return make
