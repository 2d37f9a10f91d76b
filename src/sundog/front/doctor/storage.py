"""Checks of the file system of a storage directory.

The checks work in a directory of their own beside the storage directory, and change nothing else.
"""

from __future__ import annotations

import errno
import fcntl
import os
from functools import partial

from sundog.base.kernel.files import RENAME_EXCHANGE, RENAME_NOREPLACE, Closing, renameat2
from sundog.base.kernel.mounts import AT_FDCWD
from sundog.base.kernel.refusal import file_system_of
from sundog.base.kernel.sharing import is_shared
from sundog.errors import KernelError, NotHere, SundogError
from sundog.front.doctor.file_systems import network_file_system
from sundog.front.doctor.outcome import Check
from sundog.image.store.locks import are_seen_by_all
from sundog.image.store.probe import COPY, probe

_LITTLE = 1 << 30  # bytes
_FEW_INODES = 100_000
_LONG_NAME = 255
_ELSEWHERE = "name a directory on another file system by --storage or $CH_IMAGE_STORAGE"


def storage_checks(place: bytes) -> tuple[Check, ...]:
    """Return the checks of the file system of ``place``, an empty directory."""
    return tuple(
        Check(f"storage: {name}", partial(act, place), is_required=is_required)
        for name, act, is_required in _CHECKS
    )


def _file_system(place: bytes) -> str:
    state = os.statvfs(place)
    free = state.f_bavail * state.f_frsize
    text = f"{file_system_of(place)}: {free >> 20} MiB free"
    if state.f_flag & os.ST_NOEXEC:
        raise SundogError(f"{text}; mounted noexec: only images that are overlays run", _ELSEWHERE)
    if free < _LITTLE:
        raise SundogError(f"{text}: too little for images", _ELSEWHERE)
    if state.f_files and state.f_favail < _FEW_INODES:
        raise SundogError(f"{text}, but {state.f_favail} inodes: too few for images", _ELSEWHERE)
    return text


def _network(place: bytes) -> str:
    found, advice = network_file_system(place)
    if found:
        raise NotHere(f"this is not a local file system: {found}", advice)
    return ""


def _locks(place: bytes) -> str:
    path = os.path.join(place, b"lock")
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    if is_shared(place, os.stat(place)):
        _write(path, b"")
        if not are_seen_by_all(place, path):
            raise NotHere(
                f"other nodes may not see locks on {file_system_of(place)}",
                "commands use files in the storage directory as locks; that is slower, and if a "
                "node dies, the others wait for a minute",
            )
    with Closing(os.open(path, flags, 0o600)) as one, Closing(os.open(path, flags)) as other:
        fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return ""
    raise SundogError(
        "flock(2) lets two processes have one lock",
        "two commands at once would damage storage; mount the file system with locks (Lustre: -o "
        f"flock), or {_ELSEWHERE}",
    )


def _rename(place: bytes) -> str:
    """Rename over an open file, and over an empty directory, as every commit does."""
    new, old = os.path.join(place, b"new"), os.path.join(place, b"old")
    _write(old, b"old")
    with open(old, "rb") as reader:
        _write(new, b"new")
        os.rename(new, old)
        if reader.read() != b"old":
            raise SundogError("rename(2) changes a file that is open", _ELSEWHERE)
    with open(old, "rb") as file:
        if file.read() != b"new":
            raise SundogError("rename(2) does not replace a file", _ELSEWHERE)
    return ""


def _rename_flags(place: bytes) -> str:
    one, other = os.path.join(place, b"one"), os.path.join(place, b"other")
    _write(one, b"1")
    _write(other, b"2")
    missing = []
    for name, flag in (
        ("RENAME_NOREPLACE", RENAME_NOREPLACE),
        ("RENAME_EXCHANGE", RENAME_EXCHANGE),
    ):
        try:
            renameat2(AT_FDCWD, one, AT_FDCWD, other, flag)
        except KernelError as error:
            if error.errno == errno.EINVAL:
                missing.append(name)
            elif error.errno != errno.EEXIST:
                raise
    if missing:
        raise NotHere(f"the file system has no {', '.join(missing)}; Sundog does without")
    return ""


def _links(place: bytes) -> str:
    path = os.path.join(place, b"linked")
    _write(path, b"")
    os.link(path, path + b".2")
    os.symlink(b"linked", path + b".3")
    if os.stat(path + b".3").st_nlink != 2:
        raise SundogError("a hard link makes another file", _ELSEWHERE)
    return ""


def _attributes(place: bytes) -> str:
    path = os.path.join(place, b"attributes")
    _write(path, b"")
    try:
        os.setxattr(path, b"user.sundog", b"1")
    except OSError as error:
        raise NotHere(
            f"no user.* attributes: {error.strerror}",
            "images are kept by copying instead of overlays: slower, and more space",
        ) from error
    return ""


def _unnamed_files(place: bytes) -> str:
    try:
        os.close(os.open(place, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise NotHere(f"no O_TMPFILE: {error.strerror}; Sundog does without") from error
    return ""


def _names(place: bytes) -> str:
    """Try names that differ in case, that are long, and that are no UTF-8."""
    _write(os.path.join(place, b"case"), b"1")
    _write(os.path.join(place, b"CASE"), b"2")
    with open(os.path.join(place, b"case"), "rb") as file:
        if file.read() != b"1":
            raise SundogError("names do not differ in case here: case is CASE", _ELSEWHERE)
    for name in (b"n" * _LONG_NAME, b"latin-\xe9", b"line\nbreak"):
        _write(os.path.join(place, name), b"")
    return ""


def _modes(place: bytes) -> str:
    path = os.path.join(place, b"mode")
    _write(path, b"")
    for mode in (0o000, 0o755, 0o640):
        os.chmod(path, mode)
        if os.stat(path).st_mode & 0o7777 != mode:
            raise SundogError(f"chmod(2) to {mode:04o} has no effect", _ELSEWHERE)
    return ""


def _driver(place: bytes) -> str:
    directory = os.path.join(place, b"probe")
    os.mkdir(directory)
    driver, reason = probe(directory)
    text = f"images are kept by the driver {driver}: {reason}"
    if driver == COPY:
        raise NotHere(text, f"each image is a copy: slower, and more space; {_ELSEWHERE}")
    return text


def _write(path: bytes, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


_CHECKS = (
    ("file system", _file_system, True),
    ("local", _network, False),
    ("locks", _locks, True),
    ("rename", _rename, True),
    ("rename flags", _rename_flags, False),
    ("links", _links, True),
    ("names", _names, True),
    ("modes", _modes, True),
    ("attributes", _attributes, False),
    ("unnamed files", _unnamed_files, False),
    ("overlay", _driver, True),
)
