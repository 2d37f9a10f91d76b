"""The supervisor tells which privileged calls of an emulated root the kernel refused, no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sundog.runtime.emulation.notify.state.refusals import Refusals

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.runtime.notify.conftest import Container

TOLD = """\
ioctl(FS_IOC_SETFLAGS), to make a file immutable or append-only,
ioctl(FS_IOC_FSSETXATTR), to make a file immutable or append-only,
sched_setscheduler(2)
sched_setattr(2)
setpriority(2)
mlock(2) above the limit of `ulimit -l`
mlockall(2) above the limit of `ulimit -l`
ioprio_set(2)
clock_settime(2)
swapon(2)
swapoff(2)
sethostname(2)
finit_module(2)
delete_module(2)
mount(2) of devtmpfs
mount(2) of sysfs
socket(SOCK_RAW)
"""
REFUSED = "notify: the kernel refused "


def test_each_privileged_call_that_the_kernel_refuses(busybox: Container) -> None:
    """It does not tell what it would allow, and not what real root's kernel refuses to a user."""
    script = "rm -rf /tmp/w; mkdir /tmp/w; cd /tmp/w; ulimit -e 0; ulimit -r 0; exec privileged"
    done = busybox.run("sh", "-c", script, options=("--stats",))
    lines = [line for line in done.stderr.splitlines() if line.startswith(REFUSED)]
    assert lines == [f"{REFUSED}{call} by privileged" for call in TOLD.splitlines()]
    said = [line.rpartition(": ")[2] for line in done.stdout.splitlines()]
    harmless, privileged, another = said[:12], said[12:29], said[29:]
    assert set(harmless) <= {"done", "Not a tty"}, done.stdout
    assert "done" not in privileged + another, done.stdout


def test_the_last_refusals_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/comm").write_bytes(b"a\xff\x1b\n")
    monkeypatch.chdir(tmp_path)
    refusals = Refusals()
    for number in (*range(100), 80):
        refusals.note(7, f"call {number}")
    told = refusals.told()
    assert (len(told), told[-2:]) == (32, ["call 99 by a\\xff\x1b", "call 80 by a\\xff\x1b"])
