"""The ordinary users as whom Sundog runs, and how to run a program as one of them."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from scripts.place import WorkshopError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NEEDS = ("passwd",)  # useradd
# Variables that a user's programs get: mostly, how this machine reaches its package registries.
PASSED_ON = (
    "PIP_",
    "SSL_",
    "REQUESTS_CA_BUNDLE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "TERM",
    "SUNDOG_ARCHITECTURES",
    "SUNDOG_BUILDKIT",
    "SUNDOG_CALLERS",
    "SUNDOG_CONFIGURATIONS",
    "SUNDOG_CUTS",
    "SUNDOG_FAST_PATH",
    "SUNDOG_FLUX",
    "SUNDOG_KILLS",
    "SUNDOG_MACHINES",
    "SUNDOG_NODE_ROUNDS",
    "SUNDOG_OPENPBS",
    "SUNDOG_OUTAGE",
    "SUNDOG_PACKAGES",
    "SUNDOG_PYXIS",
    "SUNDOG_RANKS",
    "SUNDOG_RECORDS",
    "SUNDOG_STAGE_KILLS",
    "SUNDOG_STARGZ",
    "SUNDOG_TRIES",
    "CI",
)


@dataclass(frozen=True)
class Account:
    """A user of this machine."""

    name: str
    uid: int
    gid: int
    home: Path

    @classmethod
    def of(cls, entry: pwd.struct_passwd) -> Account:
        """Read a passwd entry."""
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir))

    @property
    def groups(self) -> list[int]:
        """Return all groups that a login of the user has."""
        return os.getgrouplist(self.name, self.gid)


def current() -> Account:
    """Return the account of this process, whether or not $USER is set."""
    return Account.of(pwd.getpwuid(os.geteuid()))


def ordinary(name: str) -> Account:
    """Return the ordinary user of that name; root makes him if need be, without subordinate ids."""
    try:
        return Account.of(pwd.getpwnam(name))
    except KeyError:
        pass
    command = ["useradd", "--create-home", "--shell", "/bin/bash", "--user-group"]
    none = ["-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0"]
    done = subprocess.run([*command, *none, name], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorkshopError(f"cannot make the user {name}: {done.stderr.strip()}")
    return Account.of(pwd.getpwnam(name))


def environment(account: Account, programs: Path) -> dict[str, str]:
    """Return the environment of a fresh login, with a directory of programs first in PATH."""
    kept = {key: value for key, value in os.environ.items() if key.startswith(PASSED_ON)}
    return kept | {
        "HOME": str(account.home),
        "LANG": "C.UTF-8",
        "LOGNAME": account.name,
        "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "USER": account.name,
    }


def run(
    account: Account,
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    output: IO[str] | None = None,
) -> int:
    """Run a program as an account and return its exit status.

    Root drops completely: user, group and supplementary groups. Standard output and error are this
    process's, or both are the file ``output``.
    """
    drop = account.uid != os.geteuid()
    return subprocess.run(
        command,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        user=account.uid if drop else None,
        group=account.gid if drop else None,
        extra_groups=account.groups if drop else None,
        umask=0o022,
        check=False,
    ).returncode
