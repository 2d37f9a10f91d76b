"""The filter on the running kernel: the results of programs that call without a C library.

A static program makes every faked call with arguments that the kernel cannot accept.  So an error
shows that the call reached the kernel, and 0 shows that the filter answered.
"""

from __future__ import annotations

import errno
import os
import platform
import shutil
import signal
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.libc import libc_call
from sundog.base.kernel.numbers import process_abi
from sundog.base.kernel.process import install_seccomp_filter, set_no_new_privs
from sundog.errors import KernelError, SundogError
from sundog.runtime.emulation.bpf import (
    DATA_NR,
    SECCOMP_RET_ALLOW,
    assemble,
    compare,
    label,
    load,
    verdict,
)
from sundog.runtime.emulation.filter import install_fake_root, native_abi
from sundog.runtime.emulation.syscalls import (
    DEVICE_CALLS,
    FAKED_CALLS,
    SYNC_CALLS,
    SYSCALL_ABIS,
    Abi,
)
from tests.base.kernel import libseccomp
from tests.base.kernel.child import in_child, in_namespaces

if TYPE_CHECKING:
    from collections.abc import Callable

# No mapped ID, no open descriptor and no mapped address.
BAD = 12345

NATIVE = next(abi for abi in SYSCALL_ABIS if abi.name == process_abi())
X32 = next(abi for abi in SYSCALL_ABIS if abi.name == "x32")
I386 = next(abi for abi in SYSCALL_ABIS if abi.name == "i386")

PER_LINUX32 = 0x0008  # sys/personality.h
SECCOMP_RET_TRAP = 0x00030000  # linux/seccomp.h

ON_X86_64 = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="kernel: this ABI is x86-64's only"
)
INT80 = pytest.param("int80", I386, id="int80", marks=ON_X86_64)
# Most kernels lack x32.  A filter answers before the kernel reports that.
X32_BIT = pytest.param("native", X32, id="x32", marks=ON_X86_64)
ENTRIES = [pytest.param("native", NATIVE, id="native"), INT80]


@pytest.fixture(scope="session")
def direct_call(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a static program that reads system calls and makes them."""
    compiler = shutil.which("musl-gcc")
    if compiler is None:
        pytest.fail("musl-gcc is missing: make test installs it; or: apt-get install musl-tools")
    program = tmp_path_factory.mktemp("static") / "direct_call"
    source = Path(__file__).with_name("direct_call.c")
    flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-no-pie"]
    subprocess.run([compiler, *flags, "-o", program, source], check=True)
    return program


def results(program: Path, calls: list[str]) -> list[int]:
    """Return the kernel's result of each of ``calls``, which ``program`` makes."""
    text = "".join(f"{call}\n" for call in calls)
    run = subprocess.run([program], input=text, stdout=subprocess.PIPE, text=True, check=True)
    return [int(line) for line in run.stdout.split()]


def as_user_1(
    function: Callable[[], list[int]], *, fake: bool, fake_sync: bool = False
) -> list[int]:
    """Return the result of ``function`` in a user namespace, with or without the filter.

    The user is not 0, because setfsuid(2) returns the old ID, and 0 must mean a faked call.
    """

    def enter() -> list[int]:
        if fake:
            install_fake_root(fake_sync=fake_sync)
        return function()

    return in_namespaces(enter, uid=1, gid=1)


def bad_calls(entry: str, abi: Abi, names: list[str]) -> list[str]:
    """Return one line for each call that ``abi`` has, with bad arguments only."""
    numbers = [libseccomp.number(name, abi.name) for name in names]
    return [f"{entry} {number}" + f" {BAD}" * 5 for number in numbers if number is not None]


@pytest.mark.parametrize(("entry", "abi"), [*ENTRIES, X32_BIT])
def test_faked_calls_do_not_reach_the_kernel(direct_call: Path, entry: str, abi: Abi) -> None:
    calls = bad_calls(entry, abi, [name for name, _ in FAKED_CALLS])
    assert len(calls) >= 13
    real = as_user_1(lambda: results(direct_call, calls), fake=False)
    assert 0 not in real, dict(zip(calls, real, strict=True))
    faked = as_user_1(lambda: results(direct_call, calls), fake=True)
    assert faked == [0] * len(calls), dict(zip(calls, faked, strict=True))


@pytest.mark.parametrize(("entry", "abi"), ENTRIES)
def test_sync_calls_do_not_reach_the_kernel_on_request(
    direct_call: Path, entry: str, abi: Abi
) -> None:
    # sync(2) itself returns 0 in any case.
    calls = bad_calls(entry, abi, [name for name, _ in SYNC_CALLS if name != "sync"])
    assert len(calls) == 4
    real = as_user_1(lambda: results(direct_call, calls), fake=True)
    assert real == [-errno.EBADF] * 4
    faked = as_user_1(lambda: results(direct_call, calls), fake=True, fake_sync=True)
    assert faked == [0] * 4


@pytest.mark.parametrize(("entry", "abi"), ENTRIES)
def test_other_calls_reach_the_kernel(direct_call: Path, entry: str, abi: Abi) -> None:
    # fmt: off
    names = [
        "chmod", "fchmod", "fchmodat", "setxattr", "lsetxattr", "fsetxattr", "mkdirat", "unlinkat",
        "symlinkat", "renameat2", "openat", "fstat", "ftruncate", "utimensat", "mount", "umount2",
        "chroot", "unshare", "setns", "sethostname", "setpriority", "setrlimit", "getuid",
        "getgid", "geteuid", "getegid", "getresuid", "msync", "read", "write",
    ]
    # fmt: on
    calls = bad_calls(entry, abi, names)
    real = as_user_1(lambda: results(direct_call, calls), fake=False)
    assert 0 not in real, dict(zip(calls, real, strict=True))
    assert as_user_1(lambda: results(direct_call, calls), fake=True, fake_sync=True) == real


@pytest.mark.parametrize(("entry", "abi"), ENTRIES)
@pytest.mark.parametrize("call", [name for name, _ in DEVICE_CALLS])
def test_only_devices_are_not_made(
    direct_call: Path, tmp_path: Path, entry: str, abi: Abi, call: str
) -> None:
    number = libseccomp.number(call, abi.name)
    if number is None:
        assert call == "mknod"
        return
    directory = f"{os.open(tmp_path, os.O_PATH)} " if call == "mknodat" else ""
    kinds = {
        "fifo": stat.S_IFIFO,
        "socket": stat.S_IFSOCK,
        "file": stat.S_IFREG,
        "untyped": 0,
        "character": stat.S_IFCHR,
        "block": stat.S_IFBLK,
    }
    device = os.makedev(1, 3)
    calls = [
        f"{entry} {number} {directory}{tmp_path}/{name} 0{kind | 0o600:o} {device}"
        for name, kind in kinds.items()
    ]
    assert as_user_1(lambda: results(direct_call, calls), fake=True) == [0] * len(kinds)
    made = {path.name: stat.S_IFMT(path.lstat().st_mode) for path in tmp_path.iterdir()}
    assert made == {
        "fifo": stat.S_IFIFO,
        "socket": stat.S_IFSOCK,
        "file": stat.S_IFREG,
        "untyped": stat.S_IFREG,
    }
    without = [call.replace(str(tmp_path), f"{tmp_path}/none") for call in calls]
    refused = as_user_1(lambda: results(direct_call, without), fake=True)
    assert refused == [-errno.ENOENT] * 4 + [0] * 2


def test_a_filter_below_another() -> None:
    """Root emulation works within root emulation, as in a build in a build."""

    def attempt() -> list[int]:
        install_fake_root()
        os.setresuid(5, 5, 5)
        return list(os.getresuid())

    assert as_user_1(attempt, fake=True) == [1, 1, 1]


def test_a_64_bit_process_that_sees_a_32_bit_machine() -> None:
    def attempt() -> list[int]:
        libc_call("personality", PER_LINUX32)
        assert os.uname().machine != platform.machine()
        install_fake_root()
        os.chown("/", 5, 5)
        return []

    as_user_1(attempt, fake=False)


def test_installing_takes_no_new_privs_or_a_user_namespace() -> None:
    def attempt() -> tuple[str, int]:
        os.setresuid(-1, os.getuid() or 65534, -1)
        with pytest.raises(KernelError) as caught:
            install_fake_root()
        error = caught.value
        set_no_new_privs()
        install_fake_root()
        return error.message, error.errno

    assert in_child(attempt) == ("can't prctl PR_SET_SECCOMP: Permission denied", errno.EACCES)


def test_self_test() -> None:
    """An outer filter that traps the call has precedence over Sundog's."""

    def attempt() -> tuple[str, str]:
        number = libseccomp.number("kexec_load", NATIVE.name)
        assert number is not None
        signal.signal(signal.SIGSYS, lambda *_: None)
        install_seccomp_filter(
            assemble(
                [
                    load(DATA_NR),
                    compare(number, "trap"),
                    verdict(SECCOMP_RET_ALLOW),
                    label("trap"),
                    verdict(SECCOMP_RET_TRAP),
                ]
            )
        )
        with pytest.raises(SundogError) as caught:
            install_fake_root()
        return caught.value.message.rstrip("-0123456789"), caught.value.hint

    assert in_namespaces(attempt) == (
        "root emulation has no effect: its self-test, kexec_load, returned ",
        "do without: ch-run without --seccomp, ch-image build --force=none",
    )


def test_unknown_architecture() -> None:
    with pytest.raises(SundogError, match=r"^no root emulation for architecture alpha$") as caught:
        native_abi("alpha")
    assert "--force=none" in caught.value.hint
