"""Keep programs from typing into the terminals that they can open.

TIOCSTI puts a character into the input of a terminal, and TIOCLINUX pastes the selection of a
virtual console.  The user's shell executes what a container types there, when the container has
ended (CVE-2017-5226).  Since Linux 6.2 the sysctl dev.tty.legacy_tiocsti can forbid TIOCSTI to all
programs; since 6.7 the kernel refuses TIOCLINUX.

The kernel looks only at the low 32 bits of a request, and so does the filter.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.numbers import ABIS
from sundog.base.kernel.process import install_seccomp_filter
from sundog.runtime.emulation.bpf import (
    DATA_ARCH,
    DATA_NR,
    SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO,
    Line,
    assemble,
    compare,
    jump,
    label,
    load,
    verdict,
)
from sundog.runtime.emulation.filter import low_word
from sundog.runtime.emulation.syscalls import IOCTL, SYSCALL_ABIS, Abi, syscall_numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LEGACY_TIOCSTI = b"/proc/sys/dev/tty/legacy_tiocsti"

# ioctl_tty(2), ioctl_console(2); asm-generic/ioctls.h.
TIOCSTI = 0x5412
TIOCLINUX = 0x541C
_REQUEST = 1  # the argument of ioctl(2) that is the request


def typing_is_possible(sysctl: bytes = LEGACY_TIOCSTI) -> bool:
    """Tell whether this kernel lets programs type into terminals.

    Call it before the container's root is entered: an image can have another file at that path.
    """
    try:
        fd = os.open(sysctl, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True  # Linux before 6.2
    said = os.read(fd, 1)
    os.close(fd)
    return said != b"0"


def typing_program(machine: str = "") -> bytes:
    """Return the filter for all ABIs of ``machine``, which is by default this machine."""
    return program_of_blocks(_terminal_block, machine)


def program_of_blocks(block: Callable[[list[Abi]], list[Line]], machine: str = "") -> bytes:
    """Return a filter for ``machine``, by default this one, of one block for each architecture.

    ``block`` gets the ABIs of an architecture, and returns the source of its block.  The source
    expects the architecture in the accumulator, and leaves it there if it is another.
    """
    names = ABIS.get(machine or os.uname().machine, ())
    abis = [abi for abi in SYSCALL_ABIS if abi.name in names or (abi.number_bit and names)]
    source = [load(DATA_ARCH)]
    for arch in dict.fromkeys(abi.arch for abi in abis):
        source += block([abi for abi in abis if abi.arch == arch])
    source.append(verdict(SECCOMP_RET_ALLOW))
    return assemble(source)


def _terminal_block(abis: list[Abi]) -> list[Line]:
    """Return the source that decides for the ``abis`` of one architecture."""
    name = abis[0].name
    request, allow, refuse, end = (
        f"request {name}",
        f"allow {name}",
        f"refuse {name}",
        f"end {name}",
    )
    numbers = [number for abi in abis for number in syscall_numbers(IOCTL, abi).values()]
    return [
        compare(abis[0].arch, "", end),
        load(DATA_NR),
        *[compare(number, request) for number in numbers],
        jump(allow),
        label(request),
        load(low_word(_REQUEST, abis[0])),
        compare(TIOCSTI, refuse),
        compare(TIOCLINUX, refuse),
        label(allow),
        verdict(SECCOMP_RET_ALLOW),
        label(refuse),
        verdict(SECCOMP_RET_ERRNO | errno.EPERM),
        label(end),
    ]


def forbid_typing() -> None:
    """Forbid this process and its children to type into terminals, for good.

    The caller has set no_new_privs.  Raises KernelError if the kernel refuses the filter.
    """
    install_seccomp_filter(typing_program())
