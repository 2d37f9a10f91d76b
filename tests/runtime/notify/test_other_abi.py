"""32-bit calls under notify, on the running kernel: they are emulated, and no bypass.

A row of ``table`` compares what such calls see with real root's (``programs/narrow.c``).
"""

from __future__ import annotations

import errno
import platform
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scripts.place import CHECKOUT

from tests.runtime.notify.conftest import FLAGS

if TYPE_CHECKING:
    from tests.runtime.notify.conftest import Container

SOURCE = CHECKOUT / "tests/runtime/emulation/direct_call.c"
RLIMIT_LOCKS = 10

# The number in the i386 table, the arguments, the answer.
CALLS = [
    ("chown32", "212 /w/f 70000 6", 0),
    ("chown", "182 /w/f 65535 7", 0),
    ("mknod of a device", "14 /w/device 8612 259", 0),
    ("kexec_load", "283 0 0 0 0", 0),
    ("clone3", "435 0 0", -errno.ENOSYS),
    ("io_uring_setup", "425 1 0", -errno.ENOSYS),
    ("setrlimit of the tag", f"75 {RLIMIT_LOCKS} 0", -errno.EFAULT),
    ("setrlimit of another", "75 2 0", -errno.EFAULT),
    ("stat64 at a bad address", "195 /w/f 8", -errno.EFAULT),
    ("socketcall with a bad address", "102 2 8", -errno.EFAULT),
    ("chmod", "15 /w/f 384", 0),
    ("setuid32", "213 104", 0),
    ("chmod by another user", "15 /w/f 511", -errno.EPERM),
    ("access by another user", "33 /w/f 4", -errno.EACCES),
    ("faccessat2 by another user", "439 -100 /w/f 4 512", -errno.EACCES),
    ("access to a directory", "33 /w 5", 0),
]


def compile_static(source: Path, target: Path) -> None:
    """Compile a program that needs no library."""
    compiler = shutil.which("musl-gcc")
    assert compiler is not None
    subprocess.run([compiler, *FLAGS, "-o", target, source], check=True)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="kernel: this ABI is x86-64's only")
def test_they_are_emulated(busybox: Container, tmp_path: Path) -> None:
    tree = Path(busybox.roots[0].partition(":")[0])
    compile_static(SOURCE, tree / "bin/direct_call")
    (tree / "calls").write_text("".join(f"int80 {call}\n" for _, call, _ in CALLS))
    printed = busybox.sh(
        "mkdir /w; : >/w/f; direct_call </calls; stat -c '%u:%g %a %t:%T' /w/*; id -u"
    ).splitlines()
    answers = dict(zip((name for name, _, _ in CALLS), map(int, printed), strict=False))
    assert answers == {name: answer for name, _, answer in CALLS}
    assert printed[len(CALLS) :] == ["0:0 644 1:3", "70000:7 600 0:0", "0"]
