"""prctl(2): its effects in proc(5), for other processes, and on later calls."""

from __future__ import annotations

import errno
import os
import signal
import sys

import pytest

from sundog.base.kernel.libc import libc_call
from sundog.base.kernel.process import (
    install_seccomp_filter,
    set_child_subreaper,
    set_dumpable,
    set_no_new_privs,
    set_pdeathsig,
)
from sundog.errors import KernelError

from .child import in_child

PR_GET_DUMPABLE = 3


def status_field(name: str) -> str:
    with open("/proc/self/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file)[name]


def test_set_no_new_privs() -> None:
    def attempt() -> str:
        set_no_new_privs()
        return status_field("NoNewPrivs")

    assert in_child(attempt) == "1"


@pytest.mark.parametrize("dumpable", [False, True])
def test_set_dumpable(dumpable: bool) -> None:
    def attempt() -> int:
        set_dumpable(dumpable)
        return libc_call("prctl", PR_GET_DUMPABLE, 0, 0, 0, 0)

    assert in_child(attempt) == dumpable


def test_pdeathsig_comes_when_the_parent_dies() -> None:
    """The grandchild holds the pipe open, and without the signal it would hold it for ever."""
    alive, held = os.pipe()

    def parent() -> None:
        ready, report = os.pipe()
        if os.fork() == 0:
            os.close(alive)
            set_pdeathsig(signal.SIGKILL)
            os.write(report, b".")
            while True:
                signal.pause()
        assert os.read(ready, 1) == b"."

    in_child(parent)
    os.close(held)
    assert os.read(alive, 1) == b""
    os.close(alive)


def test_orphans_come_to_the_subreaper() -> None:
    def attempt() -> bool:
        set_child_subreaper()
        go, start = os.pipe()
        answer, report = os.pipe()
        middle = os.fork()
        if middle == 0:
            if os.fork() == 0:
                os.read(go, 1)
                os.write(report, b"%d" % os.getppid())
            os._exit(0)
        os.waitpid(middle, 0)
        os.write(start, b".")
        adopted = int(os.read(answer, 20)) == os.getpid()
        os.wait()
        return adopted

    assert in_child(attempt)


def test_install_seccomp_filter_takes_effect() -> None:
    def attempt() -> tuple[str, int]:
        set_no_new_privs()
        # One instruction: BPF_RET|BPF_K, SECCOMP_RET_ALLOW.
        allow = (6).to_bytes(2, sys.byteorder) + b"\0\0" + (0x7FFF0000).to_bytes(4, sys.byteorder)
        install_seccomp_filter(allow)
        return status_field("Seccomp"), int(status_field("Seccomp_filters"))

    assert in_child(attempt) == ("2", 1)


def test_install_seccomp_filter_refuses_no_program() -> None:
    def attempt() -> tuple[str, int]:
        set_no_new_privs()
        with pytest.raises(KernelError) as caught:
            install_seccomp_filter(b"")
        return caught.value.message, caught.value.errno

    assert in_child(attempt) == ("can't prctl PR_SET_SECCOMP: Invalid argument", errno.EINVAL)
