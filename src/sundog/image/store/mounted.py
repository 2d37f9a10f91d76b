"""Layers and trees that live processes have mounted: proc_pid_mountinfo(5).

A running container needs its files after they have left the store.  Its mounts are found by name:
the options of its overlay, or the root of its bind mount, contain the ID of each layer or of the
flattened tree.  IDs do not occur by chance.  A container from another storage directory with the
same layer counts too, which does no harm.  What processes of other nodes have mounted is in
``record.running``.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress

from sundog.base.record.running import KEPT, NOTE_FRESH, RUNNING_DIRECTORY, node_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_STARTING = 60  # seconds from the note of a container to its mount, at most


def mounted_names(names: set[bytes], store: bytes) -> set[bytes]:
    """Return those of ``names`` that a container may have mounted, on this node or another."""
    return _mounted_here(names) | _noted_elsewhere(names, store)


def forget_runs(store: bytes) -> None:
    """Remove this node's notes of what it no longer has mounted.

    A start that finds a fresh note leaves it as it is, and mounts the image a moment later.  So no
    note is removed that such a start may have found.
    """
    notes = {
        path: set(text.split(b","))
        for path, age, text in _notes(os.path.join(store, node_directory()))
        if age > NOTE_FRESH + _STARTING
    }
    mounted = _mounted_here(set().union(*notes.values()))
    for path, names in notes.items():
        if names.isdisjoint(mounted):
            with suppress(OSError):
                if _age(os.lstat(path)) > NOTE_FRESH:  # else a start has just renewed it
                    os.unlink(path)


def nodes_at_work(store: bytes) -> list[str]:
    """Return the names of other nodes that may have something mounted: their notes still count."""
    own = os.path.basename(node_directory())
    try:
        nodes = os.listdir(os.path.join(store, os.fsencode(RUNNING_DIRECTORY)))
    except FileNotFoundError:
        return []
    return sorted(
        os.fsdecode(node)
        for node in nodes
        if node != own
        and any(age <= KEPT for _, age, _ in _notes(os.path.join(store, node_directory(node))))
    )


def _noted_elsewhere(names: set[bytes], store: bytes) -> set[bytes]:
    """Return those of ``names`` that other nodes have noted, not too long ago."""
    try:
        nodes = os.listdir(os.path.join(store, os.fsencode(RUNNING_DIRECTORY))) if names else []
    except FileNotFoundError:
        return set()
    own = os.path.basename(node_directory())
    noted: set[bytes] = set()
    for node in nodes:
        directory = os.path.join(store, node_directory(node))
        for path, age, text in _notes(directory):
            if age > KEPT:
                with suppress(OSError):
                    os.unlink(path)
            elif node != own:
                noted |= names.intersection(text.split(b","))
        with suppress(OSError):
            if _age(os.lstat(directory)) > KEPT:
                os.rmdir(directory)  # it has notes if the node is still at work
    return noted


def _notes(directory: bytes) -> Iterator[tuple[bytes, float, bytes]]:
    """Yield the path, the age in seconds and the text of each note in ``directory``."""
    try:
        notes = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return
    for note in notes:
        path = os.path.join(directory, note)
        with suppress(FileNotFoundError):  # another command has removed it
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                yield path, _age(status), os.readlink(path)


def _age(status: os.stat_result) -> float:
    return time.time() - status.st_mtime


def _mounted_here(names: set[bytes]) -> set[bytes]:
    """Return those of ``names`` that occur in the mounts of any process of this host."""
    found: set[bytes] = set()
    seen: set[str] = set()
    for process in filter(str.isdecimal, os.listdir("/proc") if names else ()):
        try:
            namespace = os.readlink(f"/proc/{process}/ns/mnt")
        except PermissionError:
            namespace = ""  # it may still be the user's: a process that is not dumpable
        except OSError:
            continue
        if namespace in seen:
            continue
        try:
            with open(f"/proc/{process}/mountinfo", "rb") as file:
                mounts = file.read()
        except OSError:
            continue
        if namespace:
            seen.add(namespace)
        found |= {name for name in names if name in mounts}
    return found
