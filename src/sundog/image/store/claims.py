"""Locks by files, for a file system whose locks other nodes do not see.

    locks/claims/NODE,PID,START,SECONDS,RANDOM   the heartbeat of a process: ``heartbeat``
    locks/claims/KEY,KIND,NUMBER,HEARTBEAT       a claim of that process: KIND is x (exclusive) or s

A process that wants a lock makes a claim, then looks at the claims of others.  If one is in the
way, it removes its own, and tries again later.  Of two processes, at least one sees the claim of
the other.  All facts are in names: one listing has them all, and it works on a full file system.

A claim counts as long as the process lives that made it.  A process of this node is looked up by
its number and start time.  A process of another node lives as long as its heartbeat is younger than
the SECONDS that it gave itself.  So nobody waits longer for a node that has died.  A process that
/proc hides is looked at in the same way.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import random
import time
from contextlib import suppress
from functools import partial
from itertools import count
from threading import Lock

from sundog.base.kernel.libc import printable
from sundog.base.kernel.living_process import boot_id, is_hidden, start_time
from sundog.base.kernel.locks import is_at
from sundog.errors import StoreError
from sundog.image.store.heartbeat import Heartbeat, time_of
from sundog.image.store.held_lock import HeldLock

SECONDS_VARIABLE = "CH_IMAGE_LOCK_SECONDS"
_SECONDS = 60
_SECONDS_LIMIT = 86400
_DIGITS = len(str(_SECONDS_LIMIT))
_SHORTEST_WAIT, _LONGEST_WAIT, _GROWTH = 0.02, 1.0, 1.5  # seconds between two tries
_EXCLUSIVE, _SHARED = "x", "s"
_HEARTBEAT_FIELDS, _CLAIM_FIELDS = 5, 8


class ClaimLocks:
    """The locks of the storage directory ``store``, by files in ``directory``: ``locks.Locks``."""

    def __init__(self, store: bytes, directory: bytes) -> None:
        self._store = store
        self._directory = directory
        self._seconds = _chosen_seconds()
        self._node = _node()
        self._heartbeat: Heartbeat | None = None
        self._starting = Lock()
        self._numbers = count()

    def open(self, path: bytes, operation: int, *, create: bool = False) -> HeldLock:
        """See ``locks.Locks``."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        while True:
            fd = os.open(path, flags, 0o600)
            try:
                claim = self._claim(path, operation)
                try:
                    if is_at(path, fd):
                        return HeldLock(fd, partial(_remove, claim))
                except BaseException:
                    _remove(claim)
                    raise
                _remove(claim)
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def confirm(self) -> None:
        """See ``locks.Locks``."""
        if self._heartbeat is not None:
            self._heartbeat.renew()

    def sweep(self) -> None:
        """Remove the heartbeats and claims of processes that are dead."""
        for name in map(os.fsdecode, os.listdir(self._directory)):
            fields = name.split(",")
            if len(fields) in (_HEARTBEAT_FIELDS, _CLAIM_FIELDS):
                heartbeat = ",".join(fields[-_HEARTBEAT_FIELDS:])
                if not self._is_alive(heartbeat) and len(fields) == _CLAIM_FIELDS:
                    _remove(self._at(name))

    def leave_to_parent(self) -> None:
        """See ``locks.Locks``."""
        if self._heartbeat is not None:
            heartbeat, self._heartbeat = self._heartbeat, None
            heartbeat.leave_to_parent()

    def close(self) -> None:
        """See ``locks.Locks``."""
        if self._heartbeat is not None:
            heartbeat, self._heartbeat = self._heartbeat, None
            heartbeat.close()

    def _claim(self, path: bytes, operation: int) -> bytes:
        """Claim the lock on ``path``; return the path of the claim.

        Raises BlockingIOError if ``operation`` has LOCK_NB and a claim is in the way.
        """
        key = os.fsdecode(os.path.relpath(path, self._store).replace(b"/", b"%"))
        kind = _EXCLUSIVE if operation & fcntl.LOCK_EX else _SHARED
        heartbeat = self._own_heartbeat()
        wait = _SHORTEST_WAIT
        while True:
            if not self._is_in_the_way(key, kind):
                name = f"{key},{kind},{next(self._numbers)},{heartbeat}"
                try:
                    self._make(name)
                    if not self._is_in_the_way(key, kind, name):
                        return self._at(name)
                except BaseException:  # ^C: this process may still need the lock to clean up
                    _remove(self._at(name))
                    raise
                _remove(self._at(name))
            if operation & fcntl.LOCK_NB:
                raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK), path)
            time.sleep(wait * random.uniform(0.5, 1.5))  # two must not keep in step
            wait = min(wait * _GROWTH, _LONGEST_WAIT)

    def _is_in_the_way(self, key: str, kind: str, own: str = "") -> bool:
        """Tell whether a claim but ``own`` excludes one of this kind; remove those of the dead."""
        for name in map(os.fsdecode, os.listdir(self._directory)):
            fields = name.split(",")
            if len(fields) != _CLAIM_FIELDS or fields[0] != key or name == own:
                continue
            if kind == _SHARED == fields[1]:
                continue
            if self._is_alive(",".join(fields[-_HEARTBEAT_FIELDS:])):
                return True
            _remove(self._at(name))
        return False

    def _is_alive(self, heartbeat: str) -> bool:
        """Tell whether a process lives; remove its heartbeat if it does not."""
        own = self._own_heartbeat()
        node, pid, start, seconds, _ = heartbeat.split(",")
        with suppress(FileNotFoundError, ValueError):
            if heartbeat != own and (node != self._node or is_hidden(int(pid))):
                assert self._heartbeat is not None
                # First: if this process is suspended in between, the other one looks younger.
                now = self._heartbeat.renew()
                if now - time_of(self._at(heartbeat)) <= int(seconds):
                    return True
            else:
                time_of(self._at(heartbeat))  # it is gone if its process was taken for dead
                if heartbeat == own or start_time(int(pid)) == int(start):
                    return True
        _remove(self._at(heartbeat))
        return False

    def _own_heartbeat(self) -> str:
        """Return the name of this process's heartbeat; make it if need be."""
        with self._starting:
            if self._heartbeat is None:
                pid = os.getpid()
                fields = (self._node, pid, start_time(pid), self._seconds, os.urandom(4).hex())
                path = self._at(",".join(map(str, fields)))
                try:
                    self._heartbeat = Heartbeat(path, self._seconds)
                except FileNotFoundError:
                    raise self._no_directory() from None
            return os.fsdecode(os.path.basename(self._heartbeat.path))

    def _make(self, name: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            os.close(os.open(self._at(name), flags, 0o600))
        except FileNotFoundError:
            raise self._no_directory() from None

    def _no_directory(self) -> StoreError:
        return StoreError(
            f"the directory of locks is gone: {printable(self._directory)}", "run the command again"
        )

    def _at(self, name: str) -> bytes:
        return os.path.join(self._directory, os.fsencode(name))


def _remove(path: bytes) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _node() -> str:
    """Return what names the processes that this process can look up, and no others."""
    namespace = os.stat("/proc/self/ns/pid").st_ino
    return hashlib.sha256(f"{boot_id()} {namespace}".encode()).hexdigest()[:16]


def _chosen_seconds() -> int:
    text = os.environ.get(SECONDS_VARIABLE) or str(_SECONDS)
    if not (
        text.isascii()
        and text.isdigit()
        and len(text) <= _DIGITS
        and 0 < int(text) <= _SECONDS_LIMIT
    ):
        shown = printable(os.fsencode(text))
        raise StoreError(
            f"{SECONDS_VARIABLE} is not a number of seconds from 1 to {_SECONDS_LIMIT}: {shown}",
            f"the default is {_SECONDS}",
        )
    return int(text)
