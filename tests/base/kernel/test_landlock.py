"""landlock(7): signals and abstract sockets stay within a process and its children."""

from __future__ import annotations

import errno
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel import landlock
from sundog.base.kernel.landlock import (
    LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET,
    LANDLOCK_SCOPE_SIGNAL,
    LANDLOCK_SCOPES,
    SCOPED_ABI,
    landlock_abi,
    scope,
)
from sundog.base.kernel.mounts import mount
from sundog.base.kernel.process import set_no_new_privs
from sundog.errors import KernelError
from tests.base.kernel.child import in_child, in_namespaces

if TYPE_CHECKING:
    from collections.abc import Callable

HAS_SCOPES = pytest.mark.skipif(
    landlock_abi() < SCOPED_ABI, reason="kernel: no scopes of Landlock, or switched off"
)


def error_of(call: Callable[[], object]) -> int:
    """Return the errno with which a call fails, or 0 if it succeeds."""
    try:
        call()
    except OSError as error:
        return error.errno or 0
    return 0


def scoped(scopes: int, call: Callable[[], object]) -> int:
    """Return the errno of a call in a child process with ``scopes``, or 0."""

    def inside() -> int:
        set_no_new_privs()
        assert scope(scopes)
        return error_of(call)

    return in_child(inside)


@HAS_SCOPES
def test_signals() -> None:
    parent = os.getpid()
    assert scoped(LANDLOCK_SCOPE_SIGNAL, lambda: os.kill(parent, 0)) == errno.EPERM
    assert scoped(LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, lambda: os.kill(parent, 0)) == 0
    assert scoped(LANDLOCK_SCOPE_SIGNAL, lambda: os.kill(os.getpid(), 0)) == 0


@HAS_SCOPES
def test_own_children_may_be_signalled() -> None:
    def kill_child() -> None:
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    assert scoped(LANDLOCK_SCOPES, kill_child) == 0


@HAS_SCOPES
def test_abstract_sockets() -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0sundog-{os.getpid()}")
        listener.listen()
        address = listener.getsockname()

        def connect() -> None:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(address)

        assert scoped(LANDLOCK_SCOPES, connect) == errno.EPERM
        assert scoped(LANDLOCK_SCOPE_SIGNAL, connect) == 0


@HAS_SCOPES
def test_own_abstract_sockets() -> None:
    def connect() -> None:
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as other:
            listener.bind("")  # a free abstract name
            listener.listen()
            other.connect(listener.getsockname())

    assert scoped(LANDLOCK_SCOPES, connect) == 0


@HAS_SCOPES
def test_files_and_mounts_stay_as_they_are() -> None:
    """A ruleset that handles files would forbid all mounts."""

    def inside() -> int:
        set_no_new_privs()
        scope(LANDLOCK_SCOPES)
        mount(b"none", b"/tmp", b"tmpfs", 0, None)
        os.mkdir("/tmp/a")
        os.rename("/tmp/a", "/tmp/b")
        return len(os.listdir("/tmp"))

    assert in_namespaces(inside) == 1


@HAS_SCOPES
def test_as_often_as_it_can_be_done_and_no_error_then() -> None:
    def often() -> list[bool]:
        set_no_new_privs()
        return [scope(LANDLOCK_SCOPES) for _ in range(20)]

    done = in_child(often)
    assert done == [True] * 16 + [False] * 4


@HAS_SCOPES
def test_without_no_new_privs_it_is_refused() -> None:
    def try_it() -> str:
        try:
            scope(LANDLOCK_SCOPES)
        except KernelError as error:
            return error.call
        return ""

    assert in_child(try_it) == "landlock_restrict_self"


@pytest.mark.parametrize("abi", [-errno.ENOSYS, -errno.EOPNOTSUPP, 1, SCOPED_ABI - 1])
def test_a_kernel_without_scopes(abi: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "landlock_abi", lambda: abi)
    monkeypatch.setattr(landlock, "syscall", pytest.fail)
    assert not scope(LANDLOCK_SCOPES)
