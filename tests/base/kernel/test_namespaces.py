"""Real namespaces, as an ordinary user."""

from __future__ import annotations

import errno
import os

import pytest

from sundog.base.kernel.namespaces import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    namespaces_subject,
    setns,
    unshare,
    write_id_maps,
)
from sundog.errors import KernelError

from .child import in_child, in_namespaces


def test_unshare_makes_the_namespaces_asked_for() -> None:
    kinds = ("user", "mnt", "uts", "net")

    def links() -> list[str]:
        return [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds]

    def enter() -> list[str]:
        unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWUTS)
        return links()

    changed = [old != new for old, new in zip(links(), in_child(enter), strict=True)]
    assert changed == [True, True, True, False]


def test_unshare_of_a_process_namespace_makes_the_next_child_its_init() -> None:
    def enter() -> int:
        unshare(CLONE_NEWPID)
        return in_child(os.getpid)

    assert in_namespaces(enter) == 1


def test_unshare_names_what_it_cannot_make() -> None:
    def attempt() -> tuple[str, str, str, int]:
        os.setresuid(-1, os.getuid() or 65534, -1)  # root does not need a user namespace
        with pytest.raises(KernelError) as caught:
            unshare(CLONE_NEWNS | CLONE_NEWPID)
        error = caught.value
        return error.message, error.call, error.subject, error.errno

    assert in_child(attempt) == (
        "can't unshare mount+pid namespaces: Operation not permitted",
        "unshare",
        "mount+pid namespaces",
        errno.EPERM,
    )


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (CLONE_NEWUSER, b"user namespace"),
        (CLONE_NEWUSER | CLONE_NEWNS, b"user+mount namespaces"),
        (CLONE_NEWNS | CLONE_NEWPID, b"mount+pid namespaces"),
    ],
)
def test_namespaces_subject(flags: int, text: bytes) -> None:
    assert namespaces_subject(flags) == text


@pytest.mark.parametrize(("uid", "gid"), [(0, 0), (1000, 100), (2**31, 2**32 - 2)])
def test_id_maps(uid: int, gid: int) -> None:
    ids = in_namespaces(lambda: (os.getresuid(), os.getresgid()), uid=uid, gid=gid)
    assert ids == ((uid,) * 3, (gid,) * 3)


def test_id_maps_give_up_setgroups() -> None:
    def attempt() -> str:
        with pytest.raises(PermissionError):
            os.setgroups([0])
        with open("/proc/self/setgroups") as file:
            return file.read()

    assert in_namespaces(attempt) == "deny\n"


def test_id_maps_are_written_once() -> None:
    def attempt() -> tuple[str, str, int]:
        with pytest.raises(KernelError) as caught:
            write_id_maps(0, 0, 0, 0)
        return caught.value.message, caught.value.subject, caught.value.errno

    message = "can't write /proc/self/uid_map: Operation not permitted"
    assert in_namespaces(attempt) == (message, "/proc/self/uid_map", errno.EPERM)


def test_setns_joins_another_process() -> None:
    release, hold = os.pipe()
    report, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(hold)
        unshare(CLONE_NEWUSER | CLONE_NEWNS)
        os.write(ready, b".")
        os.read(release, 1)
        os._exit(0)
    try:
        assert os.read(report, 1) == b"."

        def join() -> list[str]:
            pidfd = os.pidfd_open(pid)
            setns(pidfd, CLONE_NEWUSER | CLONE_NEWNS)
            return [os.readlink(f"/proc/self/ns/{kind}") for kind in ("user", "mnt")]

        expected = [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("user", "mnt")]
        assert in_child(join) == expected
    finally:
        for fd in (release, hold, report, ready):
            os.close(fd)
        os.waitpid(pid, 0)


def test_setns_names_what_it_cannot_join() -> None:
    with pytest.raises(KernelError, match="can't setns mount namespace: Bad file descriptor"):
        setns(-1, CLONE_NEWNS)
