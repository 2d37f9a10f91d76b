"""Files and results that tests compare with or start from, and that only root can make."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from typing import TYPE_CHECKING

from scripts.bases.makers import base
from scripts.conformance import peer
from scripts.conformance.cases import cases
from scripts.fidelity import reference
from scripts.fidelity.sets import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.account import Account

# path, kind, owner, group, mode; None for owner and group: the tester's
FOREIGN = (
    ("bin", "directory", 0, 0, 0o755),
    ("bin/busybox", "file", 0, 0, 0o755),
    ("bin/set-user-id", "file", 8, 8, 0o4755),
    ("bin/set-group-id", "file", 0, 42, 0o2755),
    ("home", "directory", None, None, 0o750),
    ("home/mine", "file", None, None, 0o600),
    ("spool", "directory", 8, 12, 0o2775),
    ("spool/letter", "file", 8, 12, 0o644),
    ("null", "character device", 0, 0, 0o666),
    ("disk", "block device", 0, 6, 0o664),
)
# The tester can't read these. They are in a tree of their own, so that the others can be imported.
UNREADABLE = (
    ("readable", "file", 0, 0, 0o644),
    ("secret", "file", 0, 0, 0o600),
    ("locked", "directory", 0, 0, 0o700),
    ("locked/inside", "file", 0, 0, 0o644),
    ("open", "directory", 0, 0, 0o755),
    ("open/other-secret", "file", 0, 42, 0o640),
)
DEVICES = {
    "character device": (stat.S_IFCHR, os.makedev(1, 3)),
    "block device": (stat.S_IFBLK, os.makedev(7, 0)),
}


PROJECT_GROUP = 100  # a group that the tester is not in

# The commands that root tries, in an environment without $USER and $HOME.
AS_ROOT = (
    "ch-image gestalt storage-path",
    "ch-image --storage STORAGE import BUSYBOX bb",
    "ch-image --storage STORAGE build -t built CONTEXT",
    "ch-image --storage STORAGE list",
    "ch-run -s STORAGE built -- cat /proc/self/uid_map /who",
    "ch-run -s STORAGE -W built -- sh -c 'rm /who && ls /'",
)
AS_ROOT_DOCKERFILE = """\
FROM bb
RUN chown 5:6 /bin && id -u >/who
"""


def make(place: Path, tester: Account) -> None:
    """Make `foreign`, `unreadable` and `project` below a directory, as root.

    The tester writes to `project`, where new files get another group than his.
    """
    for name, entries in (("foreign", FOREIGN), ("unreadable", UNREADABLE)):
        top = place / name
        top.mkdir(parents=True)
        for relative, kind, uid, gid, mode in entries:
            path = top / relative
            if kind == "directory":
                path.mkdir()
            elif kind == "file":
                path.write_text(f"{relative}\n")
            else:
                file_type, number = DEVICES[kind]
                os.mknod(path, file_type | 0o600, number)
            os.chown(path, tester.uid if uid is None else uid, tester.gid if gid is None else gid)
            path.chmod(mode)  # chown clears the set-id bits, so chmod comes after it
    project = place / "project"
    project.mkdir()
    os.chown(project, 0, PROJECT_GROUP)
    project.chmod(0o3777)


def keep() -> None:
    """Make, as root, what is kept beside the base images, unless it is there.

    That is what real root makes of package sets (scripts/fidelity) and what buildah makes of
    Dockerfiles (scripts/conformance).
    """
    for packages in QUICK:
        reference.of(packages)
    for case in cases():
        if case.quick and case.peer:
            peer.reference(case)


def as_root(place: Path, programs: Path) -> list[dict[str, str | int]]:
    """Return the result of each command of AS_ROOT, run as root in an empty directory."""
    context = place / "context"
    context.mkdir(parents=True)
    (context / "Dockerfile").write_text(AS_ROOT_DOCKERFILE)
    given = {
        "STORAGE": str(place / "storage"),
        "CONTEXT": str(context),
        "BUSYBOX": str(base("busybox")),
    }
    outcomes: list[dict[str, str | int]] = []
    for command in AS_ROOT:
        argv = [given.get(word, word) for word in shlex.split(command)]
        done = subprocess.run(
            [programs / argv[0], *argv[1:]],
            env={"PATH": f"{programs}:/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        outcomes.append({
            "command": command,
            "status": done.returncode,
            "stdout": done.stdout,
            "stderr": done.stderr,
        })  # fmt: skip
    return outcomes
