"""`make agent`: install packages in containers of crun, runc and podman, and compare.

The containers are those of an ordinary user without subordinate IDs, and `sundog agent` supervises
them.  What programs inside see must be what they see of an install by real root.  Status 1 if a
path differs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import account, install, packages, runtimes
from scripts.bases import makers
from scripts.fidelity import inside, reference
from scripts.fidelity.compare import Difference, compare
from scripts.fidelity.sets import QUICK
from scripts.place import WorkshopError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from scripts.fidelity.reference import Reference

USER = "sundog"
PACKAGES = QUICK[0]  # with openssh-server
WAYS = ("crun", "runc", "podman-crun", "podman-runc")
SHOWN = 20


class Place:
    """A directory of the user with a root file system, and an agent."""

    def __init__(self, user: account.Account, path: Path, environment: Mapping[str, str]) -> None:
        self.user = user
        self.path = path
        self.environment = {**environment, "TMPDIR": str(path)}
        self.root = path / "root"
        self.socket = path / "agent.sock"

    def run(self, argv: Sequence[str], more: Mapping[str, str] | None = None) -> str:
        """Run a command as the user; return its output.  Raises WorkshopError if it fails."""
        log = self.path / "log"
        with log.open("w+", errors="replace") as output:
            variables = {**self.environment, **(more or {})}
            status = account.run(self.user, argv, env=variables, cwd=self.path, output=output)
            output.seek(0)
            text = output.read()
        if status:
            tail = "\n".join(f"  | {line}" for line in text.splitlines()[-20:])
            raise WorkshopError(f"{' '.join(argv)[:300]}: exit status {status}\n{tail}")
        return text

    def run_container(self, way: str, script: str) -> None:
        """Run a shell script in a container, whose root is ``root``."""
        command = ("sh", "-c", script)
        words = ["sundog", "agent", f"--socket={self.socket}"]
        name, _, runtime = way.partition("-")
        ids = self.user.uid, self.user.gid
        if runtime:
            state = self.path / "podman"
            state.mkdir(exist_ok=True)
            os.chown(state, *ids)
            profile = state / "profile.json"
            profile.write_text(self.run([*words, "--profile", f"--changes={self.root}"]))
            options = [
                "run",
                f"--security-opt=seccomp={profile}",
                "--rm",
                "--rootfs",
                str(self.root),
            ]
            argv = runtimes.podman(runtime, state, [*options, *command], *ids)
            self.run(argv, runtimes.podman_variables(state))
            return
        config = runtimes.configuration(str(self.root), command, *ids)
        runtimes.write_bundle(self.path, config)
        os.chown(self.path / "config.json", *ids)
        self.run([*words, "--bundle", str(self.path)])
        self.run(runtimes.runtime(name, self.path, ["run", "x"], *ids))


def differences(place: Place, way: str, real: Reference) -> Iterator[tuple[str, Difference]]:
    """Install, look, and yield what programs see otherwise than after an install by real root."""
    base = str(real.base)
    place.run(["ch-convert", "-i", "tar", "-o", "dir", base, str(place.root)])
    place.run_container(way, PACKAGES.script)
    place.run_container(way, inside.SCRIPT)
    look = inside.read(place.root / inside.DIRECTORY[1:])
    for program, view in real.inside.items():
        _, found = compare(
            "podman" if way.startswith("podman") else "RUN", view, look[program], frozenset()
        )
        for difference in found:
            yield program, difference


def measure(way: str, user: account.Account, programs: Path, real: Reference) -> bool:
    """Print the result of one way; tell whether nothing differs."""
    started = time.monotonic()
    path = Path(tempfile.mkdtemp(prefix="sundog-agent.", dir="/var/tmp"))
    os.chown(path, user.uid, user.gid)
    environment = account.environment(user, programs) | {"CH_IMAGE_STORAGE": str(path / "storage")}
    place = Place(user, path, environment)
    agent = subprocess.Popen(
        ["sundog", "agent", f"--socket={place.socket}"],
        env=place.environment,
        cwd=path,
        stdout=subprocess.DEVNULL,
        user=user.uid,
        group=user.gid,
        extra_groups=user.groups,
        umask=0o022,
    )
    try:
        while not place.socket.exists() and agent.poll() is None:
            time.sleep(0.1)
        found = list(differences(place, way, real))
        text = f"{len(found):5}"
    except WorkshopError as error:
        found, text = [], f"fails\n{error}"
    finally:
        agent.terminate()
        agent.wait()
        for file in path.glob("podman/xdg/libpod/tmp/pause.pid"):
            os.kill(int(file.read_text()), 9)
        shutil.rmtree(path, ignore_errors=True)
    print(f"{way:18} {time.monotonic() - started:8.0f} {text}", flush=True)
    for program, difference in found[:SHOWN]:
        print(f"  {program}: {difference}")
    return text.strip() == "0"


def main() -> int:
    """Prepare, and try all ways; return the exit status."""
    try:
        if os.geteuid() != 0:
            raise WorkshopError("only root can make what real root makes: run this as root")
        needs = {*account.NEEDS, *install.NEEDS, *reference.NEEDS, *runtimes.NEEDS}
        packages.require(sorted(needs | {*makers.needs([PACKAGES.base])}))
        user = account.ordinary(USER)
        programs = install.environment("fidelity", install.SYSTEM_PYTHON, extra="[fast]")
        real = reference.of(PACKAGES)
        paths = len(real.inside["find"].entries)
        print(
            f"{PACKAGES.name}: {paths} paths\n{'runtime':18} {'seconds':>8} {'paths that differ'}"
        )
        chosen = [way for way in WAYS if not sys.argv[1:] or way in sys.argv[1:]]
        results = [measure(way, user, programs, real) for way in chosen]
        return 0 if all(results) else 1
    except WorkshopError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
