"""A Debian userland as a tarball by mmdebstrap, from this machine's own package sources."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.packages import TOOLS
from scripts.place import WorkshopError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SUITE = "trixie"
SOURCES = Path("/etc/apt")
# Documentation and translations: 40 % of all files, and no demonstration reads them.
LEFT_OUT = ("man/*", "doc/*", "locale/*")


def needs() -> list[str]:
    """Return the Debian packages for making a userland as the current user.

    Anyone but root needs fakechroot and fakeroot, but no subordinate ids.
    """
    return ["mmdebstrap"] if os.geteuid() == 0 else ["fakechroot", "fakeroot", "mmdebstrap"]


def sources() -> list[str]:
    """Return mmdebstrap's sources: this machine's own file, or the mirror in it."""
    path, url = _mirror()
    return [str(path)] if SUITE in path.read_text() else [f"deb {url} {SUITE} main"]


def mirror() -> str:
    """Return the URL of this machine's own mirror of Debian."""
    return _mirror()[1]


def _mirror() -> tuple[Path, str]:
    """Return the first of apt's files that has a mirror of Debian, and the mirror's URL."""
    found = [*SOURCES.glob("sources.list.d/*.sources"), *SOURCES.glob("sources.list.d/*.list")]
    for path in [*sorted(found), SOURCES / "sources.list"]:
        text = path.read_text() if path.exists() else ""
        urls = re.findall(r"^(?:URIs:|deb(?: \[.*?\])?)\s+(https?://\S*debian\S*)", text, re.M)
        if urls:
            return path, urls[0]
    raise WorkshopError(f"no Debian mirror in {SOURCES}/sources.list or sources.list.d")


def apt_settings() -> str:
    """Return this machine's apt settings about its mirror, as lines of an apt.conf.

    Without them, the apt inside can't use a mirror of another day, or one behind a proxy.
    """
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True)
    wanted = re.compile(r'Acquire::(Check-Date|Check-Valid-Until|https?::\S+|Retries) ".+";')
    return "".join(f"{line}\n" for line in dump.stdout.splitlines() if wanted.fullmatch(line))


def bootstrap(
    out: Path,
    *,
    variant: str,
    include: Sequence[str] = (),
    hooks: Sequence[str] = (),
    environment: dict[str, str] | None = None,
    slim: bool = True,
) -> None:
    """Write a userland's tarball; a slim one lacks documentation.

    Hooks are shell commands that get the tree's path as $1.
    """
    mode = "root" if os.geteuid() == 0 else "fakechroot"
    options = [f"--mode={mode}", f"--variant={variant}"]
    options += [f"--include={','.join(include)}"] if include else []
    left_out = LEFT_OUT if slim else ()
    options += [f"--dpkgopt=path-exclude=/usr/share/{pattern}" for pattern in left_out]
    options += [f"--customize-hook={hook}" for hook in hooks]
    mmdebstrap(options, out, sources(), environment or {})


def mmdebstrap(
    options: Sequence[str], out: Path, wanted: Sequence[str], environment: Mapping[str, str]
) -> None:
    """Write a tarball from the sources ``wanted``.  Raises WorkshopError."""
    done = subprocess.run(
        ["mmdebstrap", "--quiet", "--format=tar", *options, SUITE, str(out), *wanted],
        env=os.environ | TOOLS | dict(environment),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise WorkshopError(f"mmdebstrap: exit status {done.returncode}\n{tail}")
