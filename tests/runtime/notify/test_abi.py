"""The tables of an architecture agree with the architecture's own headers."""

from __future__ import annotations

import os
import platform
import re
import socket
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.numbers import ioctl_directions
from sundog.runtime.emulation.notify.handlers.stat import DIRENT
from sundog.runtime.emulation.notify.seccomp import listener
from sundog.runtime.emulation.notify.seccomp.program import MAKES_FILE, SO_PEERGROUPS
from sundog.runtime.emulation.notify.state import files
from sundog.runtime.emulation.notify.state.sysv import (
    QUEUE_BYTES_PLACE,
    QUEUES,
    SEGMENTS,
    SEMID_SIZE,
    SEMID_SIZES,
)
from sundog.runtime.emulation.notify.supervisor import COMPANION
from sundog.runtime.emulation.notify.tracee.abi import NOTIFY_ABIS, NOTIFY_I386, NOTIFY_X86_64
from sundog.runtime.emulation.notify.tracee.narrow import OLD_STAT, SHORT_STAT, STAT64
from sundog.runtime.emulation.notify.tracee.narrow_sysv import SYSV_FORMS
from sundog.runtime.emulation.syscalls import SYSCALL_ABIS
from tests.base.kernel import libseccomp

if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.tracee.abi import NotifyAbi

SUPERVISED = [abi for native in NOTIFY_ABIS.values() for abi in native.supervised()]
ABIS = pytest.mark.parametrize("abi", SUPERVISED, ids=lambda abi: abi.name)

NARROW_STATS = {"stat64": STAT64, "stat": SHORT_STAT, "__old_kernel_stat": OLD_STAT}

# Debian's linux-libc-dev has the headers of all architectures: the directory there, and what the
# compiler must be told to take the architecture's own branch.
UAPI = Path("/usr/lib/linux/uapi")
HEADERS = {
    "x86_64": ("x86",),
    "i386": ("x86", "-m32"),
    "aarch64": ("arm64", "-U__x86_64__"),
    "ppc64le": ("powerpc", "-U__x86_64__", "-D__powerpc64__", "-D__powerpc__"),
    "s390x": ("s390", "-U__x86_64__", "-D__s390x__"),
    "riscv64": ("riscv", "-U__x86_64__", "-D__riscv_xlen=64", "-D__LP64__"),
    "loongarch64": ("loongarch", "-U__x86_64__"),
}
# Calls that the headers name, and the kernel answers ENOSYS, because they are 32-bit programs'.
ONLY_IN_HEADERS = {"ppc64le": {"oldstat", "oldlstat", "oldfstat", "getrlimit", "umount"}}


def compiled(abi: str, *arguments: str, source: str) -> str:
    """Return what the compiler prints for ``source`` with the headers of ``abi``."""
    if not UAPI.is_dir():
        pytest.fail(f"{UAPI} is missing: apt-get install linux-libc-dev (Debian 13)")
    directory, *flags = HEADERS[abi]
    command = ["cc", *flags, "-isystem", f"{UAPI}/{directory}", *arguments, "-x", "c", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def header_numbers(abi: str) -> dict[str, int]:
    """Return the numbers of the calls in the kernel's headers, by name."""
    text = compiled(abi, "-E", "-dM", source="#include <asm/unistd.h>\n")
    defined = dict(re.findall(r"^#define (\w+) (.*)$", text, re.MULTILINE))

    def value(word: str) -> str:
        word = word.strip("() ")
        return value(defined[word]) if word in defined else word

    found = {name: value(word) for name, word in defined.items() if name.startswith("__NR_")}
    return {name.removeprefix("__NR_"): int(text) for name, text in found.items() if text.isdigit()}


@ABIS
def test_numbers_are_those_that_libseccomp_knows(abi: NotifyAbi) -> None:
    wrong = {
        name: (number, known)
        for name, number in abi.numbers.items()
        if (known := libseccomp.name(number, abi.name)) not in (name, None)
    }
    assert not wrong


@ABIS
def test_numbers_are_those_of_the_kernels_headers(abi: NotifyAbi) -> None:
    there = header_numbers(abi.name)
    newer = {"setxattrat", "getxattrat", "listxattrat", "removexattrat"} - {*there}
    assert {name: there[name] for name in abi.numbers if name not in newer} == {
        name: number for name, number in abi.numbers.items() if name not in newer
    }
    named = {name for other in SUPERVISED for name in other.numbers}
    missing = {*there} & named - {*abi.numbers}
    assert missing == ONLY_IN_HEADERS.get(abi.name, set())


def sysv_constants(abi: NotifyAbi) -> dict[str, int]:
    """Return the sizes and offsets in structures of System V IPC that the supervisor relies on."""
    constants = {
        f"__builtin_offsetof(struct ipc64_perm, {field})": 4 * index
        for index, field in enumerate(("key", "uid", "gid", "cuid", "cgid", "mode"))
    }
    if abi.long_size == 4:
        forms = {kind: form.narrow.size for kind, form in SYSV_FORMS.items()}
    else:
        forms = {"shm": SEGMENTS.size, "msg": QUEUES.size}
        forms["sem"] = SEMID_SIZES.get(abi.name, SEMID_SIZE)
        constants["sizeof((struct ipc64_perm){0}.mode)"] = 4
        places = (
            *(("shm", "shm_cpid", SEGMENTS.pids[0]), ("shm", "shm_lpid", SEGMENTS.pids[1])),
            *(("msq", "msg_lspid", QUEUES.pids[0]), ("msq", "msg_lrpid", QUEUES.pids[1])),
            ("msq", "msg_qbytes", QUEUE_BYTES_PLACE),
        )
        for kind, field, place in places:
            constants[f"__builtin_offsetof(struct {kind}id64_ds, {field})"] = place
    names = {"shm": "shmid64_ds", "sem": "semid64_ds", "msg": "msqid64_ds"}
    return constants | {f"sizeof(struct {names[kind]})": size for kind, size in forms.items()}


@ABIS
def test_layouts_and_constants_are_those_of_the_headers(abi: NotifyAbi) -> None:
    structure = "stat64" if abi.long_size == 4 else "stat"
    constants = {
        f"sizeof(struct {structure})": abi.stat.size,
        "sizeof(long)": abi.long_size,
        "SO_PASSCRED": abi.pass_credentials,
        "SO_PEERCRED": abi.peer_credentials,
        "SO_PEERGROUPS": SO_PEERGROUPS,
        "SOL_SOCKET": socket.SOL_SOCKET,
        "O_LARGEFILE": abi.large_file,
        "O_CREAT | O_TRUNC | __O_TMPFILE": MAKES_FILE | os.O_TRUNC,
    }
    for field in ("dev", "ino", "mode", "uid", "gid", "rdev"):
        ours = {"dev": "device", "ino": "inode"}.get(field, field)
        place = f"__builtin_offsetof(struct {structure}, st_{field})"
        constants[place] = getattr(abi.stat, ours)
    for form, fields in NARROW_STATS.items() if abi.long_size == 4 else ():
        constants[f"sizeof(struct {form})"] = fields.structure.size
    constants |= sysv_constants(abi)
    asserted = "".join(
        f'_Static_assert(({name}) == {value}, "{name}");\n' for name, value in constants.items()
    )
    headers = (
        *("asm/stat.h", "asm/socket.h", "asm/fcntl.h"),
        *("asm/ipcbuf.h", "asm/shmbuf.h", "asm/sembuf.h", "asm/msgbuf.h"),
    )
    included = "".join(f"#include <{header}>\n" for header in headers)
    compiled(abi.name, "-fsyntax-only", source=included + asserted)


@ABIS
def test_numbers_of_requests_are_those_of_the_headers(abi: NotifyAbi) -> None:
    none, read, write = ioctl_directions(abi.name)
    requests = {
        "_IO(0xB7, 2)": none | 0xB702,  # NS_GET_PARENT
        "_IOR(0xB7, 5, unsigned long long)": read | 0x8B705,  # NS_GET_MNTNS_ID
        "_IO('T', 0x41)": none | 0x5441,  # TIOCGPTPEER
        "_IOW('!', 2, unsigned long long)": write | 0x82102,  # SECCOMP_IOCTL_NOTIF_ID_VALID
        "_IOWR('!', 0, char[80])": listener.SECCOMP_IOCTL_NOTIF_RECV,
        "_IOWR('!', 1, char[24])": listener.SECCOMP_IOCTL_NOTIF_SEND,
    }
    asserted = "".join(
        f'_Static_assert({name} == {value:#x}, "");\n' for name, value in requests.items()
    )
    compiled(abi.name, "-fsyntax-only", source=f"#include <asm/ioctl.h>\n{asserted}")


@ABIS
def test_every_abi_has_a_filter(abi: NotifyAbi) -> None:
    seen = next(each for each in SYSCALL_ABIS if each.name == abi.name)
    assert (abi.arch, abi.big_endian) == (seen.arch, seen.big_endian)


def test_the_loop_tells_the_companion_by_one_byte() -> None:
    assert all(abi.arch & 0xFF != abi.companion.arch & 0xFF for abi in SUPERVISED if abi.companion)
    assert max(number for abi in SUPERVISED for number in abi.numbers.values()) < COMPANION
    for abi in (NOTIFY_X86_64, NOTIFY_I386):
        data = struct.pack("=QIIiIQ6Q", 1, 2, 0, abi.numbers["statx"], abi.arch, 0, *range(6))
        assert data[listener.MACHINE] == abi.arch & 0xFF
        assert memoryview(data).cast("I")[listener.NUMBER] == abi.numbers["statx"]


PROGRAM = r"""
#include <dirent.h>
#include <linux/seccomp.h>
#include <linux/stat.h>
#include <asm/stat.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/ioctl.h>
#define AT(s, f) printf(#s "." #f " %zu\n", offsetof(struct s, f))
#define NUMBER(n) printf(#n " %lu\n", (unsigned long)(n))
int main(void)
{
    NUMBER(sizeof(struct stat));
    AT(stat, st_dev), AT(stat, st_ino), AT(stat, st_mode), AT(stat, st_uid), AT(stat, st_gid);
    AT(stat, st_rdev);
    NUMBER(sizeof(struct statx));
    AT(statx, stx_uid), AT(statx, stx_mode), AT(statx, stx_btime), AT(statx, stx_rdev_major);
    NUMBER(sizeof(struct seccomp_notif));
    AT(seccomp_notif, pid), AT(seccomp_notif, data);
    AT(seccomp_data, args);
    NUMBER(sizeof(struct seccomp_notif_resp));
    NUMBER(sizeof(struct seccomp_notif_addfd));
    NUMBER(SECCOMP_IOCTL_NOTIF_RECV);
    NUMBER(SECCOMP_IOCTL_NOTIF_SEND);
    NUMBER(SECCOMP_IOCTL_NOTIF_ID_VALID);
    NUMBER(SECCOMP_IOCTL_NOTIF_ADDFD);
}
"""


def test_layouts_are_those_of_the_kernels_headers(tmp_path: Path) -> None:
    abi = NOTIFY_ABIS[platform.machine()]
    (tmp_path / "layouts.c").write_text(PROGRAM)
    subprocess.run(["cc", "-o", tmp_path / "layouts", tmp_path / "layouts.c"], check=True)
    printed = subprocess.run([tmp_path / "layouts"], capture_output=True, text=True, check=True)
    words = [line.rsplit(" ", 1) for line in printed.stdout.splitlines()]
    found = {name: int(number) for name, number in words}
    stat = abi.stat
    assert found == {
        "sizeof(struct stat)": stat.size,
        "stat.st_dev": stat.device,
        "stat.st_ino": stat.inode,
        "stat.st_mode": stat.mode,
        "stat.st_uid": stat.uid,
        "stat.st_gid": stat.gid,
        "stat.st_rdev": stat.rdev,
        "sizeof(struct statx)": files.STATX_SIZE,
        "statx.stx_uid": files.STATX_UID,
        "statx.stx_mode": files.STATX_MODE,
        "statx.stx_btime": files.STATX_BIRTH,
        "statx.stx_rdev_major": files.STATX_RDEV,
        "sizeof(struct seccomp_notif)": len(listener.EMPTY_NOTIFICATION),
        "seccomp_notif.pid": 8,
        "seccomp_notif.data": 16,
        "seccomp_data.args": listener.NOTIFICATION.size - 48 - 16,
        "sizeof(struct seccomp_notif_resp)": listener.RESPONSE.size,
        "sizeof(struct seccomp_notif_addfd)": listener.ADDED_DESCRIPTOR.size,
        "SECCOMP_IOCTL_NOTIF_RECV": listener.SECCOMP_IOCTL_NOTIF_RECV,
        "SECCOMP_IOCTL_NOTIF_SEND": listener.SECCOMP_IOCTL_NOTIF_SEND,
        "SECCOMP_IOCTL_NOTIF_ID_VALID": listener.SECCOMP_IOCTL_NOTIF_ID_VALID,
        "SECCOMP_IOCTL_NOTIF_ADDFD": listener.SECCOMP_IOCTL_NOTIF_ADDFD,
    }
    assert DIRENT.size == 18
    assert os.sysconf("SC_PAGE_SIZE") >= 4096
