"""The tables of an architecture agree with the architecture's own headers."""

from __future__ import annotations

import os
import platform
import subprocess
from typing import TYPE_CHECKING

import pytest

from sundog.emulation.notify.handlers.stat import DIRENT
from sundog.emulation.notify.seccomp import listener
from sundog.emulation.notify.state import files
from sundog.emulation.notify.tracee.abi import NOTIFY_ABIS
from sundog.emulation.syscalls import SYSCALL_ABIS
from tests.kernel import libseccomp

if TYPE_CHECKING:
    from pathlib import Path

    from sundog.emulation.notify.tracee.abi import NotifyAbi

ABIS = pytest.mark.parametrize("abi", NOTIFY_ABIS.values(), ids=list(NOTIFY_ABIS))


@ABIS
def test_numbers_are_those_that_libseccomp_knows(abi: NotifyAbi) -> None:
    wrong = {
        name: (number, known)
        for name, number in abi.numbers.items()
        if (known := libseccomp.name(number, abi.name)) not in (name, None)
    }
    assert not wrong
    names = [libseccomp.name(number, abi.name) for number in abi.numbers.values()]
    assert names.count(None) <= 5  # newer than the library


@ABIS
def test_every_abi_has_a_filter(abi: NotifyAbi) -> None:
    assert abi.name in {each.name for each in SYSCALL_ABIS}


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
