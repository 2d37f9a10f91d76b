"""A process that can't trace the caller of execve(2): nothing stays open, and nothing waits."""

from __future__ import annotations

import errno
import os
import signal
import time

import pytest

from sundog.runtime.emulation.notify.tracee import secure_start
from sundog.runtime.emulation.notify.tracee.memory import Memory
from sundog.runtime.emulation.notify.tracee.secure_start import SecureStarts


def test_a_tracer_that_cannot_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError(errno.EAGAIN, "fork")

    monkeypatch.setattr(secure_start, "fork_below", refused)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(BlockingIOError):
        SecureStarts(Memory()).begin(os.getpid(), {})
    assert os.listdir("/proc/self/fd") == before


def test_a_tracer_that_waits_for_the_kernel_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """ptrace(2) waits while another thread of the process executes a file of a FUSE daemon."""
    tracers = []

    def fork() -> int:
        tracers.append(os.fork())
        return tracers[-1]

    monkeypatch.setattr(secure_start, "fork_below", fork)
    monkeypatch.setattr(secure_start, "libc_call", lambda *_: time.sleep(60))
    monkeypatch.setattr(secure_start, "_SEIZE_LIMIT", 10)
    os.close(SecureStarts(Memory()).begin(os.getpid(), {}))
    _, status = os.waitpid(tracers[0], 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
