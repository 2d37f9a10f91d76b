"""The profile from which an OCI runtime builds the filter of ``notify``: ``linux.seccomp``.

It says what ``emulation.notify.seccomp.program`` says, from the same tables.  In the language of
the profile, all conditions of a rule must hold, and one of several rules must hold.  A condition
compares the bits under a mask with a value.  So a test for "some bit is set" becomes a rule for
each bit.

Specification: runtime-spec, config-linux.md, "Seccomp"; seccomp_rule_add(3) for the comparison.
podman reads the same object from the file of ``--security-opt seccomp=FILE``.
"""

from __future__ import annotations

import errno
from itertools import product
from typing import Any

from sundog.runtime.emulation.notify.seccomp.program import (
    ABSENT,
    FAKED,
    NOTIFIED,
    READING,
    conditional_calls,
    more_than_reading,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sundog.runtime.emulation.notify.seccomp.privileged import Test
    from sundog.runtime.emulation.notify.tracee.abi import NotifyAbi

Json = dict[str, Any]

# The names that libseccomp gives to the ABIs whose programs a supervisor can serve.
ARCHITECTURES = {
    "x86_64": "SCMP_ARCH_X86_64",
    "i386": "SCMP_ARCH_X86",
    "aarch64": "SCMP_ARCH_AARCH64",
    "ppc64le": "SCMP_ARCH_PPC64LE",
    "s390x": "SCMP_ARCH_S390X",
    "riscv64": "SCMP_ARCH_RISCV64",
    "loongarch64": "SCMP_ARCH_LOONGARCH64",
}


def seccomp_profile(abi: NotifyAbi, listener: str, metadata: str) -> Json:
    """Return the object ``linux.seccomp`` for containers of ``abi`` and of its companion.

    ``listener`` is the path of the agent's socket.  The runtime sends it ``metadata``.
    """
    abis = tuple(abi.supervised())
    rules = [
        _rule(_names(abis, NOTIFIED), "SCMP_ACT_NOTIFY"),
        _rule(list(ABSENT), "SCMP_ACT_ERRNO", errnoRet=errno.ENOSYS),
        _rule(list(FAKED), "SCMP_ACT_ERRNO", errnoRet=0),
    ]
    for call, tests in conditional_calls(abi).items():
        names = _names(abis, [call])
        rules += [
            _rule(names, "SCMP_ACT_NOTIFY", args=list(conditions))
            for conditions in product(*map(_alternatives, tests))
        ]
    for call, argument in READING.items():
        mask = more_than_reading(abi.large_file)
        condition = {"index": argument, "value": mask, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
        rules.append(_rule(_names(abis, [call]), "SCMP_ACT_NOTIFY", args=[condition]))
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": [ARCHITECTURES[each.name] for each in abis],
        "listenerPath": listener,
        "listenerMetadata": metadata,
        "syscalls": rules,
    }


def _names(abis: Sequence[NotifyAbi], calls: Sequence[str]) -> list[str]:
    """Return the names that ``abis`` have for ``calls``.

    libseccomp leaves a name out on an ABI that lacks the call.
    """
    found = [name for abi in abis for name in abi.numbers if abi.call(name) in calls]
    return list(dict.fromkeys(found))


def _rule(names: Sequence[str], action: str, **more: object) -> Json:
    return {"names": names, "action": action, **more}


def _alternatives(test: Test) -> Iterator[Json]:
    """Yield the conditions of which one must hold, so that ``test`` holds.

    Only bits under the mask are compared, because the upper half of a register is no part of C's
    ``int``.
    """
    argument, mask, values = test
    pairs = [(mask, value) for value in values] or [(bit, bit) for bit in bits_of(mask)]
    for compared, value in pairs:
        yield {
            "index": argument,
            "value": compared,
            "valueTwo": value,
            "op": "SCMP_CMP_MASKED_EQ",
        }


def bits_of(mask: int) -> list[int]:
    """Return the bits that are set in ``mask``."""
    return [1 << place for place in range(mask.bit_length()) if mask >> place & 1]
