"""The program that takes the last step of a process: it executes the command, by its name.

Until a process of ours has become a command, /proc/self/exe is Sundog's interpreter.  If the
command's name were a link there, the kernel would execute the interpreter with the image's own
dynamic loader, and that could change the file on the host (CVE-2019-5736).  No check of a name
helps, because another process may change what the name leads to between the check and execve(2).

So the process becomes this program first.  Then /proc/self/exe is memory that nobody can change,
that no other process uses, and that needs no dynamic loader.  All else is as it always is when the
kernel executes a file by its name: scripts, binfmt_misc, the name in ps(1).

The program is machine code, because an installation need not have a C compiler.  Its arguments are

    REPORT  SHELL  PATH  the arguments of the command, at least one

It executes PATH.  If the kernel does not know its format (ENOEXEC), it executes SHELL with PATH and
the command's arguments but the first: execvp(3).  If that fails, too, it writes REPORT but its
first byte to standard error, and exits with that byte as its status.  The kernel puts the arguments
one behind the other, so REPORT ends where SHELL begins.

Specifications: execve(2), memfd_create(2), elf(5), the System V ABIs.
"""

from __future__ import annotations

import os
import sys

from sundog.base.kernel.files import memory_file, nameless_file
from sundog.base.kernel.mounts import AT_EMPTY_PATH
from sundog.base.kernel.numbers import process_abi
from sundog.base.kernel.process import execveat
from sundog.base.record.magic import ELF_MAGIC
from sundog.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

# ABI → e_machine, e_flags, and the bytes of an address.
STEP_KINDS = {
    "x86_64": (62, 0, 8),
    "i386": (3, 0, 4),
    "aarch64": (183, 0, 8),
    "arm": (40, 0x5000000, 4),
    "ppc64le": (21, 0x2, 8),
    "s390x": (22, 0, 8),
    "riscv64": (243, 0, 8),
    "loongarch64": (258, 0x43, 8),
}
# ABI → the code.  That of aarch64 is
#
#       ldr x2,[sp]; add x2,sp,x2,lsl #3; add x2,x2,#16    the environment
#       ldr x0,[sp,#24]; add x1,sp,#32                     PATH and the command's arguments
#       mov x8,#221; svc #0; cmn w0,#8; b.ne 1f            execve; ENOEXEC
#       ldr x0,[sp,#24]; str x0,[sp,#32]                   PATH in place of the first argument
#       ldr x0,[sp,#16]; str x0,[sp,#24]; add x1,sp,#24    SHELL before it
#       svc #0                                             execve
#   1:  ldr x1,[sp,#8]; ldr x2,[sp,#16]                    REPORT and its end
#       sub x2,x2,x1; sub x2,x2,#2; ldrb w19,[x1],#1       its length; the status
#       mov x0,#2; mov x8,#64; svc #0                      write
#       mov w0,w19; mov x8,#93; svc #0                     exit
#
# and the others do the same.
_STEP_CODES = {
    "x86_64": (
        "8b0c24488d54cc10488b7c2418488d7424206a3b580f0583f8f8751e488b7c241848897c2420488b7c241048"
        "897c2418488d7424186a3b580f05488b742408488b5424104829f24883ea020fb61e48ffc66a025f6a01580f"
        "0589df6a3c580f05"
    ),
    "i386": (
        "8b0c248d548c088b5c240c8d4c24106a0b58cd8083f8f875198b5c240c895c24108b5c2408895c240c8d4c24"
        "0c6a0b58cd808b4c24048b54240829ca83ea020fb631416a025b6a0458cd8089f36a0158cd80"
    ),
    "aarch64": (
        "e20340f9e26f228b42400091e00f40f9e1830091a81b80d2010000d41f200031e1000054e00f40f9e01300f9"
        "e00b40f9e00f00f9e1630091010000d4e10740f9e20b40f9420001cb420800d133144038400080d2080880d2"
        "010000d4e003132aa80b80d2010000d4"
    ),
    "arm": (
        "00209de502218de0082082e20c009de510108de20b70a0e3000000ef080070e30500001a0c009de510008de5"
        "08009de50c008de50c108de2000000ef04109de508209de5012042e0022042e20140d1e40200a0e30470a0e3"
        "000000ef0400a0e10170a0e3000000ef"
    ),
    "ppc64le": (
        "0000c1e9241fce79140ace7d1000ce397873c57d180061e8200081380b000038020000440800032c24008240"
        "180061e8200061f8100061e8180061f87873c57d180081380b00003802000044080081e81000a1e85028a47c"
        "feffa5380000c489010084380200603804000038020000447873c37d0100003802000044"
    ),
    "s390x": (
        "e340f0000004eb440003000d4144f010e320f01800044130f0200a0ba72efff8a774000ed207f020f018d207"
        "f018f010e320f01800044130f0180a0be330f0080004e340f0100004b9090043a74bfffee360300000904130"
        "3001a72900020a04b90400260a010707"
    ),
    "riscv64": (
        "0336010013163600330626001306060103358101930501029308d00d7300000013058500631e050003358101"
        "2330a10203350101233ca100930581017300000083358100033601013306b6401306e6ff03c4050093851500"
        "130520009308000473000000130504009308d00573000000"
    ),
    "loongarch64": (
        "6600c028c60c4100c68c1000c640c0026460c0286580c0020b74830300002b008420c002801c00446460c028"
        "6480c0296440c0286460c0296560c00200002b006520c0286640c028c6941100c6f8ff02b700002aa504c002"
        "040880030b00810300002b00e40215000b74810300002b00"
    ),
}

# Kinds and rights of segments: PT_LOAD with PF_R and PF_X, PT_GNU_STACK with PF_R and PF_W.
_CODE_SEGMENT, _STACK_SEGMENT = (1, 5), (0x6474E551, 6)
_STEP_ADDRESS = 0x10000000
_LARGEST_PAGE = 0x10000

# Places where a file without a name may be executed, if the site forbids it for memory
# (vm.memfd_noexec).
_NAMELESS_PLACES = (b"/dev/shm", b"/tmp")


def last_step(abi: str, order: Literal["little", "big"]) -> bytes:
    """Return the program for an ``abi`` with a byte ``order``, as an ELF file."""
    return elf_program(STEP_KINDS[abi], order, bytes.fromhex(_STEP_CODES[abi]))


def elf_program(kind: tuple[int, int, int], order: Literal["little", "big"], code: bytes) -> bytes:
    """Return a static program as an ELF file: elf(5).

    ``kind`` is as in STEP_KINDS, and ``order`` the order of bytes.
    """
    machine, flags, width = kind

    def field(value: int, size: int) -> bytes:
        return value.to_bytes(size, order)

    def segment(kinds: tuple[int, int], address: int, size: int) -> bytes:
        sort, rights = kinds
        place = [field(number, width) for number in (0, address, address, size, size)]
        place.insert(0 if width == 8 else 5, field(rights, 4))
        return b"".join([field(sort, 4), *place, field(_LARGEST_PAGE, width)])

    header_size, segment_size = (64, 56) if width == 8 else (52, 32)
    start = header_size + 2 * segment_size
    size = start + len(code)
    identity = bytes([width // 4, 1 if order == "little" else 2, 1])
    header = [
        (ELF_MAGIC + identity).ljust(16, b"\0"),
        *(field(number, 2) for number in (2, machine)),
        field(1, 4),
        *(field(number, width) for number in (_STEP_ADDRESS + start, header_size, 0)),
        field(flags, 4),
        *(field(number, 2) for number in (header_size, segment_size, 2, 0, 0, 0)),
    ]
    segments = [
        segment(_CODE_SEGMENT, _STEP_ADDRESS, size),
        segment(_STACK_SEGMENT, 0, 0),
    ]
    return b"".join([*header, *segments, code])


def open_last_step() -> int:
    """Return the program of this machine as an executable file that nobody can change.

    Raises KernelError and OSError.
    """
    program = last_step(process_abi(), sys.byteorder)
    try:
        return memory_file(b"ch-run", program)
    except (KernelError, OSError):
        for place in _NAMELESS_PLACES:
            fd = nameless_file(place, program)
            if fd >= 0:
                return fd
        raise


def take_last_step(
    path: bytes, arguments: list[bytes], strings: list[bytes], shell: bytes, report: bytes
) -> int:
    """Become the command by the program; return a negated errno if that fails.

    ``strings`` are the environment.  Raises KernelError and OSError.
    """
    fd = open_last_step()
    words = [report, shell, path, *arguments]
    result = execveat(fd, b"", words, strings, AT_EMPTY_PATH)
    os.close(fd)
    return result
