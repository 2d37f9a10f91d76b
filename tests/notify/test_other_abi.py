"""32-bit calls under notify, on the running kernel: ``seccomp``'s answers, and no bypass."""

from __future__ import annotations

import errno
import platform
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.notify.conftest import FLAGS

if TYPE_CHECKING:
    from tests.notify.conftest import Container

SOURCE = Path(__file__).parents[1] / "emulation" / "direct_call.c"
RLIMIT_LOCKS = 10

# The number in the i386 table, the arguments, the answer.
CALLS = [
    ("chown32", "212 /w/f 5 6", 0),
    ("setuid32", "213 104", 0),
    ("mknod of a device", "14 /w/device 8612 259", 0),
    ("io_uring_setup", "425 1 0", -errno.ENOSYS),
    ("setrlimit of the tag", f"75 {RLIMIT_LOCKS} 0", 0),
    ("setrlimit of another", "75 2 0", -errno.EFAULT),
    ("chmod", "15 /w/f 384", 0),
]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="kernel: this ABI is x86-64's only")
def test_they_are_told_done_and_nothing_is(busybox: Container, tmp_path: Path) -> None:
    tree = Path(busybox.roots[0].partition(":")[0])
    compiler = shutil.which("musl-gcc")
    assert compiler is not None
    subprocess.run([compiler, *FLAGS, "-o", tree / "bin" / "direct_call", SOURCE], check=True)
    (tree / "calls").write_text("".join(f"int80 {call}\n" for _, call, _ in CALLS))
    printed = busybox.sh(
        "mkdir /w; : >/w/f; direct_call </calls; stat -c '%u:%g %a' /w/f; ls /w; id -u"
    ).splitlines()
    answers = dict(zip((name for name, _, _ in CALLS), map(int, printed), strict=False))
    assert answers == {name: answer for name, _, answer in CALLS}
    assert printed[len(CALLS) :] == ["0:0 600", "f", "0"]
