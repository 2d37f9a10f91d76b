"""Make causes of failures real, in a namespace or a process of their own."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sundog.base.kernel.mounts import MS_BIND, mount
from sundog.base.kernel.numbers import process_abi
from sundog.base.kernel.process import PR_SET_SECCOMP, install_seccomp_filter, set_no_new_privs
from sundog.front.doctor.outcome import Outcome, attempt
from sundog.runtime.emulation.bpf import (
    DATA_ARGS,
    DATA_NR,
    SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO,
    assemble,
    compare,
    label,
    load,
    verdict,
)
from tests.base.kernel import libseccomp
from tests.base.kernel.test_refusal import deny

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sundog.front.doctor.outcome import Check


def no_overlay() -> None:
    """Let the kernel refuse overlays as one without the module does: mount(2) says ENODEV.

    A filter can't read the type of file system.  But of all mounts that Sundog makes, only
    overlays that can be written to have no flags.
    """
    deny_argument("mount", 3, 0, errno.ENODEV)


def no_seccomp_filters() -> None:
    """Let the kernel refuse filters as one without CONFIG_SECCOMP_FILTER does."""
    deny_argument("prctl", 0, PR_SET_SECCOMP, errno.EINVAL)
    deny("seccomp", errno.EINVAL)


def deny_argument(call: str, place: int, value: int, error: int) -> None:
    """Install a filter that answers ``call`` with ``error`` if its argument ``place`` is this."""
    number = libseccomp.number(call, process_abi())
    assert number is not None
    set_no_new_privs()
    install_seccomp_filter(
        assemble(
            [
                load(DATA_NR),
                compare(number, "call"),
                verdict(SECCOMP_RET_ALLOW),
                label("call"),
                load(DATA_ARGS + place * 8),
                compare(value, "deny"),
                verdict(SECCOMP_RET_ALLOW),
                label("deny"),
                verdict(SECCOMP_RET_ERRNO | error),
            ]
        )
    )


def empty_dev() -> None:
    """Leave no device in /dev but /dev/null."""
    device = os.open("/dev/null", os.O_PATH)
    mount(b"none", b"/dev", b"tmpfs", 0, None)
    Path("/dev/null").touch()
    mount(b"/proc/self/fd/%d" % device, b"/dev/null", None, MS_BIND, None)
    os.close(device)


def cover(path: str, text: str, place: Path) -> None:
    """Show a file with ``text`` in place of a file of the host."""
    file = place / "cover"
    file.write_text(text)
    mount(os.fsencode(file), os.fsencode(path), None, MS_BIND, None)


def close_device(path: str) -> None:
    """Show a file that only root may open in place of a device."""
    mount(b"/etc/shadow", os.fsencode(path), None, MS_BIND, None)


def sysctl(name: str, text: str) -> None:
    """Show /proc/sys/kernel with nothing but this: for switches that this kernel lacks."""
    mount(b"none", b"/proc/sys/kernel", b"tmpfs", 0, None)
    path = Path("/proc/sys/kernel", *name.split("."))
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{text}\n")


def row(checks: Iterable[Check], name: str) -> Outcome:
    """Make the check ``name`` of ``checks``."""
    return attempt(next(check for check in checks if check.name == name))
