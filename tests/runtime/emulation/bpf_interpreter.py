"""An interpreter of seccomp(2)'s classic BPF, which is as strict as the kernel's checker.

Specification: seccomp_check_filter() and bpf_check_classic(), described in
``Documentation/userspace-api/seccomp_filter.rst`` and ``Documentation/networking/filter.rst``.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

BPF_LD_W_ABS = 0x20
BPF_ALU_AND_K = 0x54
BPF_JMP_JA = 0x05
BPF_JMP_JEQ_K = 0x15
BPF_RET_K = 0x06

SECCOMP_DATA_SIZE = 64

ByteOrder = Literal["little", "big"]


class InvalidProgram(Exception):
    """The kernel would refuse this program."""


@dataclass(frozen=True)
class SeccompData:
    """A system call as a filter sees it: struct seccomp_data in a machine's byte order."""

    nr: int
    arch: int
    args: tuple[int, ...] = (0,) * 6
    instruction_pointer: int = 0x0123456789ABCDEF
    byteorder: ByteOrder = "little"

    @cached_property
    def packed(self) -> bytes:
        order = "<" if self.byteorder == "little" else ">"
        args = [arg & (1 << 64) - 1 for arg in self.args]
        return struct.pack(
            f"{order}II7Q", self.nr & 0xFFFFFFFF, self.arch, self.instruction_pointer, *args
        )

    def word(self, offset: int) -> int:
        return int.from_bytes(self.packed[offset : offset + 4], self.byteorder)


@dataclass
class Run:
    """The result of a program: its verdict, and the offsets in struct seccomp_data that it read."""

    verdict: int = -1
    loads: list[int] = field(default_factory=list)


class Program:
    """A filter that has passed the checks of the kernel."""

    def __init__(self, program: bytes) -> None:
        if not program or len(program) % 8 or len(program) > 4096 * 8:
            raise InvalidProgram(f"{len(program)} bytes")
        order = "<" if sys.byteorder == "little" else ">"
        self.instructions = list(struct.iter_unpack(f"{order}HBBI", program))
        for index in range(len(self.instructions)):
            self.check(index)
        if self.instructions[-1][0] != BPF_RET_K:
            raise InvalidProgram("the last instruction is no return")

    def check(self, index: int) -> None:
        code, jt, jf, k = self.instructions[index]
        if code == BPF_LD_W_ABS:
            valid = k % 4 == 0 and k < SECCOMP_DATA_SIZE
        elif code == BPF_JMP_JA:
            valid = index + 1 + k < len(self.instructions)
        elif code == BPF_JMP_JEQ_K:
            valid = index + 1 + max(jt, jf) < len(self.instructions)
        else:
            valid = code in (BPF_ALU_AND_K, BPF_RET_K)
        if not valid:
            raise InvalidProgram(f"instruction {index}: {self.instructions[index]}")

    def run(self, data: SeccompData) -> Run:
        result = Run()
        accumulator = index = 0
        while True:
            code, jt, jf, k = self.instructions[index]
            index += 1
            if code == BPF_JMP_JEQ_K:
                index += jt if accumulator == k else jf
            elif code == BPF_LD_W_ABS:
                accumulator = data.word(k)
                result.loads.append(k)
            elif code == BPF_ALU_AND_K:
                accumulator &= k
            elif code == BPF_JMP_JA:
                index += k
            else:
                result.verdict = k
                return result
