"""Docker's daemon, for the BuildKit in it: `make buildkit`.

It has no network of its own, and a mount namespace of its own, so that it leaves nothing behind.
The tests' user may talk to it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from typing import TYPE_CHECKING

from scripts.place import WorkshopError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scripts.account import Account

VARIABLE = "SUNDOG_BUILDKIT"  # names the daemon's socket, for the tests
NEEDS = ("docker-buildx", "docker-cli", "docker.io")
_SECONDS = 120.0  # for the daemon to begin and to end
_WITHOUT = ("iptables", "ip6tables", "ip-forward", "ip-masq", "userland-proxy")


@contextlib.contextmanager
def running(directory: Path, user: Account) -> Iterator[Path]:
    """Run the daemon with its files in a new ``directory``; give its socket."""
    if os.geteuid() != 0:
        raise WorkshopError("only root can start Docker's daemon")
    directory.mkdir()
    socket, log = directory / "socket", directory / "log"
    options = [f"--{name}=false" for name in _WITHOUT]
    places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    options += [f"--{name}={directory / file}" for name, file in places.items()]
    own = ["unshare", "--mount", "--propagation", "private", "dockerd"]
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            [*own, *options, "--bridge=none", f"--host=unix://{socket}"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        _wait(daemon, socket, log)
        os.chown(socket, user.uid, user.gid)
        yield socket
    finally:
        daemon.terminate()
        try:
            daemon.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def _wait(daemon: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    """Wait until the daemon answers."""
    line = ["docker", "--host", f"unix://{socket}", "version"]
    due = time.monotonic() + _SECONDS
    while subprocess.run(line, capture_output=True, check=False).returncode:
        if daemon.poll() is not None or time.monotonic() > due:
            last = log.read_text(errors="replace")[-1000:]
            raise WorkshopError(f"Docker's daemon does not answer:\n{last}")
        time.sleep(0.1)
