"""The directories for things that outlive a run, outside of the checkout.

Root's things are in /var/tmp/sundog-KIND: all users read them and share them. A user's things are
in his ~/.cache/sundog/KIND, for him alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CHECKOUT = Path(__file__).resolve().parent.parent


class WorkshopError(Exception):
    """A fault that the person at the keyboard can mend; only its text is printed."""


def shared(kind: str) -> Path:
    """Return root's directory for things of a kind; it need not exist."""
    return Path(f"/var/tmp/sundog-{kind}")


def is_trusted(path: Path) -> bool:
    """Tell whether a directory belongs to root or this user, and only its owner can write to it.

    Everybody can write to /var/tmp: without this check, another user could plant images and
    programs.
    """
    try:
        status = path.lstat()
    except OSError:
        return False
    writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(status.st_mode) and status.st_uid in (0, os.geteuid()) and not writable


def own(kind: str) -> Path:
    """Return this process's directory for things of a kind; make it if need be."""
    root = os.geteuid() == 0
    path = shared(kind) if root else Path.home() / ".cache/sundog" / kind
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    if root and not is_trusted(path):
        raise WorkshopError(
            f"{path} is open to other users than root: remove it, then run this again"
        )
    if root:
        path.chmod(0o755)
    return path


def find(kind: str, name: str) -> Path | None:
    """Return a kept thing by name, this user's before root's; None if there is none."""
    for directory in (own(kind), shared(kind)):
        if is_trusted(directory) and (directory / name).exists():
            return directory / name
    return None


def digest(paths: Iterable[Path], *more: str) -> str:
    """Return 12 hexadecimal digits that depend on the files' names and contents, and on texts."""
    state = hashlib.sha256()
    for path in sorted(paths):
        state.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    state.update("\0".join(more).encode())
    return state.hexdigest()[:12]


@contextlib.contextmanager
def atomically(target: Path) -> Iterator[Path]:
    """Give a path to write to. On success it becomes the target, readable for all; else it goes."""
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield part
        part.chmod(0o644)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def copy_checkout(target: Path) -> None:
    """Copy the checkout, without caches and git's data, so that an ordinary user can read it."""
    copy_tree(CHECKOUT, target)


def copy_tree(source: Path, target: Path) -> None:
    """Replace a directory by a copy of another; everyone can read it under any umask."""
    shutil.rmtree(target, ignore_errors=True)
    leave = shutil.ignore_patterns(
        ".git", "__pycache__", ".*_cache", ".hypothesis", ".venv*", "dist"
    )
    shutil.copytree(source, target, ignore=leave, symlinks=True)
    for path in [target, *target.rglob("*")]:
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if executable else 0o644)


def installed(prefix: Path, name: str, file: str, usage: str) -> None:
    """Raise WorkshopError unless a directory that the caller has named has a file."""
    if not (prefix / file).is_file():
        raise WorkshopError(f"no {name} in {prefix}: no file {file}\nhint: {usage}")
