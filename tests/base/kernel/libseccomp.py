"""The oracle: what libseccomp knows about system call numbers."""

from __future__ import annotations

import ctypes

import pytest

# SCMP_ARCH_* of seccomp.h, by Sundog's names of the ABIs.
TOKENS = {
    "x86_64": 0xC000003E,
    "x32": 0x4000003E,
    "i386": 0x40000003,
    "aarch64": 0xC00000B7,
    "arm": 0x40000028,
    "ppc64le": 0xC0000015,
    "s390x": 0x80000016,
    "riscv64": 0xC00000F3,
    "loongarch64": 0xC0000102,
}


def load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        pytest.fail(f"{error}; this test needs: apt-get install libseccomp2")
    # The library mallocs the names.  Keep the pointer, to free it.
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
    return library


def number(name: str, abi: str) -> int | None:
    """Return the number of a system call, or None if the ABI lacks the call."""
    result: int = load().seccomp_syscall_resolve_name_arch(TOKENS[abi], name.encode())
    # Calls that the ABI lacks have negative pseudo numbers, like unknown names.
    return result if result >= 0 else None


def name(number: int, abi: str) -> str | None:
    """Return the name of the system call with this number, or None if the ABI has none."""
    pointer = load().seccomp_syscall_resolve_num_arch(TOKENS[abi], ctypes.c_int(number))
    if not pointer:
        return None
    text = ctypes.string_at(pointer).decode()
    libc_free(pointer)
    return text


def libc_free(pointer: int) -> None:
    ctypes.CDLL(None).free(ctypes.c_void_p(pointer))
