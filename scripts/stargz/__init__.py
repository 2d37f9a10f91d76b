"""containerd with the stargz snapshotter, which reads eStargz lazily: `make stargz`.

Debian has its client, ctr-remote, and the snapshotter as a library: the daemon is built here.
Both run in namespaces of their own, so that no process and no mount is left.  The tests' user may
talk to containerd.
"""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.packages import versions
from scripts.place import WorkshopError, atomically, digest, own

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.account import Account

VARIABLE = "SUNDOG_STARGZ"  # names the directory of the daemons, for the tests
LIBRARY = "golang-github-containerd-stargz-snapshotter-dev"
NEEDS = ("containerd", "golang-go", "runc", "stargz-snapshotter", LIBRARY)
SOURCE = Path(__file__).with_name("snapshotter.go")
_SECONDS = 120.0  # for the daemons to begin
_CONFIGURATION = """\
version = 2
root = "{place}/root"
state = "{place}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{place}/socket"
  uid = {user.uid}
  gid = {user.gid}
[ttrpc]
  address = "{place}/ttrpc"
[proxy_plugins.stargz]
  type = "snapshot"
  address = "{place}/snapshotter.socket"
"""
# The first process of the namespaces is containerd: all ends with it.
_BOTH = '"$0" "$1/snapshotter" "$1/snapshotter.socket" & exec containerd --config "$1/config.toml"'
_NAMESPACES = ("--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")
# A snapshot has the name of the directory where it is mounted, and outlives the mount.
_SHOW = """\
seen=$(mktemp -d "$1/seen.XXXXXX")
ctr-remote --address "$1/socket" images rpull --plain-http "$0" >&2
ctr-remote --address "$1/socket" images mount --snapshotter=stargz "$0" "$seen" >&2
tar --sort=name --numeric-owner --xattrs --xattrs-include='*' -C "$seen" -c .
umount "$seen"
"""


@dataclass(frozen=True)
class Daemons:
    """Both daemons, with their files in a directory."""

    directory: Path

    @property
    def socket(self) -> Path:
        """Return where containerd answers."""
        return self.directory / "socket"

    def show(self, name: str) -> dict[str, Any]:
        """Return the tree of an image of a registry, as root in a mount of it: an archive."""
        process = (self.directory / "process").read_text()
        # The snapshotter mounts layers there, and nowhere else.
        enter = ["nsenter", "--target", process, "--mount", "--pid", "--"]
        line = [*enter, "sh", "-ec", _SHOW, name, str(self.directory)]
        done = subprocess.run(line, capture_output=True, timeout=120, check=False)
        if done.returncode:
            raise ValueError(f"ctr-remote: {done.stderr.decode()[-2000:]}")
        return {"tar": base64.b64encode(done.stdout).decode()}


def snapshotter() -> Path:
    """Return the snapshotter; build it now unless it is kept."""
    known = versions(NEEDS)
    made_from = digest([SOURCE], *(f"{name} {known[name]}" for name in sorted(known)))
    target = own("stargz") / f"snapshotter-{made_from}"
    if not target.exists():
        # Debian's libraries have no modules.
        go = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": f"{target}.cache"}
        with atomically(target) as part:
            line = ["go", "build", "-o", str(part), str(SOURCE)]
            done = subprocess.run(
                line, env=os.environ | go, capture_output=True, text=True, check=False
            )
            subprocess.run(["rm", "-rf", f"{target}.cache"], check=True)
            if done.returncode:
                raise WorkshopError(f"{' '.join(line)}:\n{done.stderr[-2000:]}")
        target.chmod(0o755)
    return target


@contextlib.contextmanager
def running(directory: Path, user: Account) -> Iterator[Path]:
    """Run the daemons with their files in a new ``directory``; give it."""
    if os.geteuid() != 0:
        raise WorkshopError("only root can start containerd")
    program = snapshotter()
    directory.mkdir()
    settings, log = directory / "config.toml", directory / "log"
    settings.write_text(_CONFIGURATION.format(place=directory, user=user))
    own_line = ["unshare", *_NAMESPACES, "--mount-proc", "sh", "-c", _BOTH]
    with log.open("wb") as output:
        outer = subprocess.Popen(
            [*own_line, str(program), str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        _wait(outer, directory)
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text()
        (directory / "process").write_text(children.split()[0])
        yield directory
    finally:
        outer.kill()  # and the kernel its children
        outer.wait()


def _wait(outer: subprocess.Popen[bytes], directory: Path) -> None:
    """Wait until both daemons answer."""
    due = time.monotonic() + _SECONDS
    asking = ["ctr", f"--address={directory}/socket", "snapshots", "--snapshotter=stargz", "list"]
    while subprocess.run(asking, capture_output=True, check=False).returncode:
        if outer.poll() is not None or time.monotonic() > due:
            last = (directory / "log").read_text(errors="replace")[-1000:]
            raise WorkshopError(f"containerd with its snapshotter does not answer:\n{last}")
        time.sleep(0.1)
