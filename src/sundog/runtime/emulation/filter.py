"""Root emulation, mode ``seccomp``: a BPF filter that answers "done" and does nothing.

The filter answers the calls of ``emulation.syscalls`` with errno 0.  It knows all architectures, so
it covers 32-bit programs too.  It remembers nothing: stat(2) and getuid(2) still tell the truth.
All other calls run as if there were no filter; since Linux 5.11 the kernel does not run the filter
for most of them.  Not a security boundary.
"""

from __future__ import annotations

import os

from sundog.base.kernel.libc import syscall
from sundog.base.kernel.modes import S_IFBLK, S_IFCHR, S_IFMT
from sundog.base.kernel.numbers import process_abi
from sundog.base.kernel.process import install_seccomp_filter
from sundog.errors import SundogError
from sundog.runtime.emulation.bpf import (
    AND,
    COMPARE,
    DATA_ARCH,
    DATA_ARGS,
    DATA_NR,
    JUMP,
    LOAD,
    OPERATION_NAMES,
    RETURN,
    SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO,
    Line,
    assemble,
    bitwise_and,
    compare,
    disassemble,
    jump,
    label,
    load,
    verdict,
)
from sundog.runtime.emulation.syscalls import (
    DEVICE_CALLS,
    FAKED_CALLS,
    MODE_ARGUMENT,
    SYNC_CALLS,
    SYSCALL_ABIS,
    Abi,
    syscall_numbers,
)

_NO_EMULATION_HINT = "do without: ch-run without --seccomp, ch-image build --force=none"


def fake_root_program(*, fake_sync: bool = False, native: Abi | None = None) -> bytes:
    """Return the filter; with ``fake_sync`` it answers "done" to fsync(2) and its family, too.

    The filter has one block per architecture.  The block of ``native``, by default this process's
    ABI, comes first.  Raises SundogError if Sundog has no table of this process's system calls.
    """
    native = native or native_abi()
    architectures = dict.fromkeys([native.arch, *[abi.arch for abi in SYSCALL_ABIS]])
    source = [load(DATA_ARCH)]
    for arch in architectures:
        source += architecture_block([abi for abi in SYSCALL_ABIS if abi.arch == arch], fake_sync)
    source.append(verdict(SECCOMP_RET_ALLOW))
    return assemble(source)


def architecture_block(abis: list[Abi], fake_sync: bool) -> list[Line]:
    """Return the source that decides for the ``abis`` of one architecture.

    The source expects the architecture in the accumulator, and leaves it there if it is another.
    """
    name, arch = abis[0].name, abis[0].arch
    allow, fake, mode, end = f"allow {name}", f"fake {name}", f"mode {name}", f"end {name}"
    source = [compare(arch, "", end), load(DATA_NR)]
    for abi in abis:
        faked = syscall_numbers(FAKED_CALLS, abi)
        if fake_sync:
            faked |= syscall_numbers(SYNC_CALLS, abi)
        source += [compare(number, fake) for number in faked.values()]
        devices = syscall_numbers(DEVICE_CALLS, abi)
        source += [compare(number, f"{call} {name}") for call, number in devices.items()]
    source.append(jump(allow))
    for call in syscall_numbers(DEVICE_CALLS, abis[0]):
        source += [
            label(f"{call} {name}"),
            load(low_word(MODE_ARGUMENT[call], abis[0])),
            jump(mode),
        ]
    source[-1:] = [  # the last of them falls through
        label(mode),
        bitwise_and(S_IFMT),
        compare(S_IFCHR, fake),
        compare(S_IFBLK, fake),
        label(allow),
        verdict(SECCOMP_RET_ALLOW),
        label(fake),
        verdict(SECCOMP_RET_ERRNO),
        label(end),
    ]
    return source


def low_word(argument: int, abi: Abi) -> int:
    """Return the offset of an argument's low 32 bits in struct seccomp_data."""
    return DATA_ARGS + 8 * argument + (4 if abi.big_endian else 0)


def install_fake_root(*, fake_sync: bool = False) -> None:
    """Make this process and its children seem to be root, for good.

    The caller has set no_new_privs or has CAP_SYS_ADMIN in its user namespace.  Raises KernelError
    if the kernel refuses the filter, SundogError if the filter has no effect: kexec_load, which
    only root may call, must succeed and do nothing.
    """
    install_seccomp_filter(fake_root_program(fake_sync=fake_sync))
    number = syscall_numbers(FAKED_CALLS, native_abi())["kexec_load"]
    result = syscall(number, 0, 0, None, 0)
    if result != 0:
        raise SundogError(
            f"root emulation has no effect: its self-test, kexec_load, returned {result}",
            _NO_EMULATION_HINT,
        )


def native_abi(machine: str = "") -> Abi:
    """Return the ABI of this process on ``machine``, which is by default uname(2)'s.

    Raises SundogError if Sundog has no table of that ABI.
    """
    machine = machine or os.uname().machine
    name = process_abi(machine)
    for abi in SYSCALL_ABIS:
        if abi.name == name:
            return abi
    raise SundogError(f"no root emulation for architecture {machine}", _NO_EMULATION_HINT)


def describe_program(program: bytes) -> list[str]:
    """Return ``program`` as text, one instruction a line, with names for known constants."""
    lines = []
    # By instruction: which word is loaded when it runs, and on which architecture.  Jumps only go
    # forwards, so one pass suffices.
    known = {0: (DATA_ARCH, 0)}
    for index, (code, jt, jf, k) in enumerate(disassemble(program)):
        loaded, arch = known.get(index, (DATA_ARCH, 0))
        constant = _constant_name(code, k, loaded, arch)
        lines.append(f"{index}: {{ {OPERATION_NAMES[code]} k= {constant} jt= {jt} jf= {jf} }}")
        if code == LOAD:
            loaded = k
        distance = k if code == JUMP else jf
        known.setdefault(index + 1 + distance, (loaded, arch))
        if code == COMPARE:
            found = k if loaded == DATA_ARCH else arch
            known.setdefault(index + 1 + jt, (loaded, found))
    return lines


def _constant_name(code: int, k: int, loaded: int, arch: int) -> str:
    """Return the name of an instruction's ``k``, given the loaded word and the architecture."""
    if code == LOAD:
        return {DATA_NR: "nr", DATA_ARCH: "arch"}.get(k) or f"args[{(k - DATA_ARGS) // 8}]"
    if code == RETURN:
        return {SECCOMP_RET_ALLOW: "ALLOW", SECCOMP_RET_ERRNO: "ERRNO(0)"}.get(k, f"{k:#x}")
    if code == AND:
        return {S_IFMT: "S_IFMT"}.get(k, f"{k:#x}")
    if code == JUMP:
        return f"{k}"
    if loaded == DATA_ARCH:
        names = {abi.arch: abi.name for abi in reversed(SYSCALL_ABIS)}
    elif loaded == DATA_NR:
        names = _call_names(arch)
    else:
        names = {S_IFCHR: "S_IFCHR", S_IFBLK: "S_IFBLK"}
    return names.get(k, f"{k:#x}")


def _call_names(arch: int) -> dict[int, str]:
    """Return the names of the calls of ``arch`` by number; those of x32 have a prefix."""
    return {
        number: f"x32:{call}" if abi.number_bit else call
        for abi in SYSCALL_ABIS
        if abi.arch == arch
        for table in (FAKED_CALLS, DEVICE_CALLS, SYNC_CALLS)
        for call, number in syscall_numbers(table, abi).items()
    }
