"""Keep a RUN from the user's keys: keyrings(7).

The kernel's keyrings are in no namespace.  A process finds there what belongs to its user, such as
the tickets of Kerberos, by the number of a keyring if not by inheritance.  So the calls do not
exist for a RUN.  What the kernel itself looks up for it, such as the tokens of a network file
system, it finds as before.

Floor 0.
"""

import errno

from sundog.emulation.bpf import (
    DATA_NR,
    SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO,
    Line,
    compare,
    label,
    load,
    verdict,
)
from sundog.emulation.syscalls import KEY_CALLS, Abi, syscall_numbers
from sundog.emulation.terminal import program_of_blocks
from sundog.errors import KernelError
from sundog.kernel.process import install_seccomp_filter


def keys_program(machine: str = "") -> bytes:
    """Return the filter for ``machine``, by default this one, and all its ABIs."""
    return program_of_blocks(keys_block, machine)


def keys_block(abis: list[Abi]) -> list[Line]:
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

    The caller has set no_new_privs.  Returns False if the kernel does not take the filter.
    """
    try:
        install_seccomp_filter(keys_program())
    except KernelError:
        return False
    return True
