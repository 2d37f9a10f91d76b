"""Keep a RUN from the user's keys: keyrings(7).

The kernel's keyrings belong to no namespace.  They hold what belongs to a user, such as Kerberos
tickets, and each process of the user can name a keyring by its number.  So the filter hides these
calls from a RUN.  The kernel itself still finds keys for the RUN, such as the tokens of a network
file system.
"""

from __future__ import annotations

import errno

from sundog.base.kernel.process import install_seccomp_filter
from sundog.errors import KernelError
from sundog.runtime.emulation.bpf import (
    DATA_NR,
    SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO,
    Line,
    compare,
    label,
    load,
    verdict,
)
from sundog.runtime.emulation.syscalls import KEY_CALLS, Abi, syscall_numbers
from sundog.runtime.emulation.terminal import program_of_blocks


def keys_program(machine: str = "") -> bytes:
    """Return the filter for all ABIs of ``machine``, which is by default this machine."""
    return program_of_blocks(_keys_block, machine)


def _keys_block(abis: list[Abi]) -> list[Line]:
    """Return the source that decides for the ``abis`` of one architecture."""
    refuse, end = f"refuse {abis[0].name}", f"end {abis[0].name}"
    numbers = [number for abi in abis for number in syscall_numbers(KEY_CALLS, abi).values()]
    return [
        compare(abis[0].arch, "", end),
        load(DATA_NR),
        *[compare(number, refuse) for number in numbers],
        verdict(SECCOMP_RET_ALLOW),
        label(refuse),
        verdict(SECCOMP_RET_ERRNO | errno.ENOSYS),
        label(end),
    ]


def forbid_keys() -> bool:
    """Take the calls for keys away from this process and its children, for good.

    The caller has set no_new_privs.  Returns False if the kernel refuses the filter.
    """
    try:
        install_seccomp_filter(keys_program())
    except KernelError:
        return False
    return True
