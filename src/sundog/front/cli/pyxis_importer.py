"""``sundog-pyxis-importer``: give pyxis, Slurm's plug-in for containers, images by ``ch-image``.

pyxis (0.23 and later) calls it as the user: ``get URI`` once for a job step on a node, and then
``release`` once or twice.  ``get`` prints the absolute path of a SquashFS file.  URI is that of
enroot: ``docker://[USER@][REGISTRY#]IMAGE[:TAG]``.  pyxis makes ``docker://NAME`` of a NAME, so
this is an image in storage if there is one; with ``REGISTRY#`` the registry is asked.

A file is made once for an image, for all steps that run at the same time.  Each step has a hard
link to it; so the file lives until the last step has released it.  With $SUNDOG_PYXIS_KEEP the
file stays for later jobs.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import subprocess
import sys
from contextlib import suppress

from sundog import __version__
from sundog.base.installation import own_command
from sundog.base.kernel.libc import printable
from sundog.base.kernel.locks import open_locked, unlock
from sundog.base.record.location import account_name
from sundog.errors import EXIT_USAGE, NotInStorage, SundogError, UsageError
from sundog.front.cli.report import Report
from sundog.front.cli.running import run_action
from sundog.front.stored import found_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_USAGE = "sundog-pyxis-importer get URI | release"
_PLACE_VARIABLE, _KEEP_VARIABLE = "SUNDOG_PYXIS_DIR", "SUNDOG_PYXIS_KEEP"
# pyxis calls ``release`` with less of Slurm's variables than ``get``; it has these both times.
_STEP_VARIABLES = ("SLURM_JOB_ID", "SLURM_STEP_ID")
_DIGEST = re.compile(r"[a-z0-9]+:[0-9a-f]+")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


def main() -> int:
    """Run the importer with this process's arguments; return the exit status."""
    words = sys.argv[1:]
    report = Report()
    if words == ["--version"]:
        report.info(__version__)
        return 0
    status = run_action(lambda: _act(words), report, EXIT_USAGE)
    if status < 0:
        from sundog.runtime.process.interruption import die_of

        die_of(-status)
    return status


def _act(words: Sequence[str]) -> int:
    match words:
        case ["get", uri]:
            path = get(uri)
            os.write(1, os.fsencode(f"{path}\n"))
        case ["release"]:
            release()
        case _:
            raise UsageError("expected get URI, or release", _USAGE)
    return 0


def get(uri: str) -> str:
    """Return the path of a SquashFS file with the image of ``uri``, for this job step."""
    name = image_name(uri)
    place = _place(make=True)
    link = os.path.join(place, _step() + ".link.sqfs")
    if "#" in uri or found_facts(name, None, Report().warning) is None:
        if "://" not in uri:
            raise NotInStorage(f"no image in storage: {name}", "list them: ch-image list")
        _run("ch-image", "pull", name)
    (described,) = json.loads(_run("ch-image", "inspect", name))
    shared = os.path.join(place, f"{described['id']}.enroot.sqfs")
    lock = _lock(place)
    try:
        if not os.path.exists(shared):
            _run("ch-convert", "-i", "ch-image", "-o", "enroot", name, shared)
        with suppress(FileNotFoundError):
            os.unlink(link)
        os.link(shared, link)
    finally:
        unlock(lock)
    return link


def release() -> None:
    """Give up the file of this job step, if there is one."""
    place = _place(make=False)
    if not os.path.isdir(place):
        return
    lock = _lock(place)
    try:
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(place, _step() + ".link.sqfs"))
        if os.environ.get(_KEEP_VARIABLE):
            return
        for name in os.listdir(place):
            path = os.path.join(place, name)
            if name.endswith(".sqfs") and os.lstat(path).st_nlink == 1:
                os.unlink(path)
    finally:
        unlock(lock)


def image_name(uri: str) -> str:
    """Return the name for ``ch-image`` of enroot's ``uri``.  Raises UsageError."""
    kind, separator, rest = uri.partition("://")
    if not separator:
        return uri
    if kind != "docker" or not rest:
        raise UsageError(
            f"cannot import {printable(os.fsencode(uri))}",
            "write docker://[REGISTRY#]IMAGE[:TAG], or the name of an image in storage",
        )
    registry, hash_sign, image = rest.rpartition("#")
    if hash_sign:
        return f"{registry.rpartition('@')[2]}/{image}"
    # An @ before the name follows an account; behind the name it begins a digest.
    _, at, named = rest.partition("@")
    return named if at and not _DIGEST.match(named) else rest


def _place(*, make: bool) -> str:
    """Return the directory of the files.  Raises SundogError if it is somebody else's."""
    user = os.fsdecode(account_name(os.geteuid()))
    path = os.environ.get(_PLACE_VARIABLE) or f"/var/tmp/{user}.sundog-pyxis"
    if not os.path.isabs(path):
        raise SundogError(f"${_PLACE_VARIABLE}: not an absolute path: {path}")
    if make:
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
    with suppress(FileNotFoundError):
        status = os.lstat(path)
        is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
        if not is_own or status.st_mode & 0o022:
            raise SundogError(
                f"cannot use {path}: it must be a directory of yours, writable to nobody else",
                f"name another one with ${_PLACE_VARIABLE}",
            )
    return path


def _lock(place: str) -> int:
    return open_locked(os.fsencode(os.path.join(place, "lock")), os.O_RDWR | os.O_CREAT,
                       fcntl.LOCK_EX)  # fmt: skip


def _step() -> str:
    """Return a file's name for the job step on this node."""
    parts = [os.environ.get(name, "") for name in _STEP_VARIABLES] + [os.uname().nodename]
    return ".".join(_UNSAFE.sub("_", part)[:60] or "none" for part in parts)


def _run(name: str, *words: str) -> bytes:
    """Run a command of Sundog; return its output.  Its messages go to standard error."""
    command = [*own_command(name), *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SundogError(f"cannot import the image: {name} failed")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
