"""An assembler for the classic BPF programs of seccomp(2), with labels, and its inverse.

A program is an array of ``struct sock_filter``: u16 code, u8 jt, u8 jf, u32 k, in this machine's
byte order.  Jumps only go forwards, and count the instructions that they skip; a compare can skip
255.  Specification: linux/filter.h, linux/bpf_common.h, linux/seccomp.h.
"""

from __future__ import annotations

import sys

# Operations: BPF_LD|BPF_W|BPF_ABS and so on.
LOAD = 0x20
AND = 0x54
JUMP = 0x05
COMPARE = 0x15
RETURN = 0x06
_LABEL = -1  # not an instruction: names the next one

OPERATION_NAMES = {LOAD: "load", AND: "and", JUMP: "jump", COMPARE: "compare", RETURN: "return"}

# Offsets in struct seccomp_data.
DATA_NR = 0
DATA_ARCH = 4
DATA_POINTER = 8  # instruction_pointer
DATA_ARGS = 16

SECCOMP_RET_ERRNO = 0x00050000
SECCOMP_RET_ALLOW = 0x7FFF0000

_INSTRUCTIONS_LIMIT = 4096  # BPF_MAXINSNS

# A line of source: operation, constant, and the labels to go to if equal and if unequal; the label
# "" is the next instruction.
Line = tuple[int, int, str, str]
# An instruction: code, jt, jf, k.
_Instruction = tuple[int, int, int, int]


def load(offset: int) -> Line:
    """Load the 32-bit word at ``offset`` of struct seccomp_data into the accumulator."""
    return (LOAD, offset, "", "")


def bitwise_and(mask: int) -> Line:
    """Keep the accumulator's bits in ``mask``."""
    return (AND, mask, "", "")


def compare(value: int, equal: str = "", unequal: str = "") -> Line:
    """Go to ``equal`` or ``unequal``, depending on whether the accumulator is ``value``."""
    return (COMPARE, value, equal, unequal)


def jump(target: str) -> Line:
    """Go to ``target``."""
    return (JUMP, 0, target, "")


def verdict(action: int) -> Line:
    """End with ``action`` (SECCOMP_RET_*)."""
    return (RETURN, action, "", "")


def label(name: str) -> Line:
    """Name the next instruction."""
    return (_LABEL, 0, name, "")


def assemble(source: list[Line]) -> bytes:
    """Return the program that ``source`` describes.

    Raises ValueError for a program that is too long, and for a label that is missing, double,
    before the jump to it, or too far away for a compare.
    """
    places: dict[str, int] = {}
    lines: list[Line] = []
    for line in source:
        if line[0] != _LABEL:
            lines.append(line)
        elif places.setdefault(line[2], len(lines)) != len(lines):
            raise ValueError(f"label {line[2]} is there twice")
    if len(lines) > _INSTRUCTIONS_LIMIT:
        raise ValueError(f"{len(lines)} instructions are more than {_INSTRUCTIONS_LIMIT}")

    def distance(index: int, target: str, reach: int) -> int:
        skipped = places.get(target, -1) - index - 1
        if not 0 <= skipped <= reach:
            raise ValueError(f"instruction {index} can't reach label {target!r}")
        return skipped

    program = bytearray()
    order = sys.byteorder
    at_code, at_jt, at_jf, at_k = (0, 16, 24, 32) if order == "little" else (48, 40, 32, 0)
    for index, (code, k, equal, unequal) in enumerate(lines):
        jt = jf = 0
        if code == JUMP:
            k = distance(index, equal, _INSTRUCTIONS_LIMIT)  # noqa: PLW2901
        else:  # each start assembles a program, so it calls few functions
            if equal:
                jt = distance(index, equal, 255)
            if unequal:
                jf = distance(index, unequal, 255)
        fields = code << at_code | jt << at_jt | jf << at_jf | k << at_k
        program += fields.to_bytes(8, order)
    return bytes(program)


def disassemble(program: bytes) -> list[_Instruction]:
    """Return the instructions of ``program`` as tuples of code, jt, jf and k."""
    return [
        (
            int.from_bytes(program[at : at + 2], sys.byteorder),
            program[at + 2],
            program[at + 3],
            int.from_bytes(program[at + 4 : at + 8], sys.byteorder),
        )
        for at in range(0, len(program), 8)
    ]
