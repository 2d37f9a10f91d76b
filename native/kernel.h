/* System calls without a C library.  A call returns the kernel's result; a failure is -errno.
 * generated.h has the numbers and constants, from the tables of the launcher in Python. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "generated.h"

/* Per architecture: the registers of the number and of the arguments, the instruction, the other
 * registers that it changes, the result, and the entry point: syscall(2), and the System V ABIs. */
#if defined(__x86_64__)
#define REGISTERS(N) N("rax", "rdi", "rsi", "rdx", "r10", "r8")
#define INSTRUCTION "syscall"
#define CHANGED "rcx", "r11"
#define RESULT n_
#define START "xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call begin"
#define ELF_MACHINE 62
#elif defined(__aarch64__)
#define REGISTERS(N) N("x8", "x0", "x1", "x2", "x3", "x4")
#define INSTRUCTION "svc 0"
#define START "mov x29, #0\n mov x30, #0\n mov x0, sp\n b begin"
#define ELF_MACHINE 183
#elif defined(__riscv)
#define REGISTERS(N) N("a7", "a0", "a1", "a2", "a3", "a4")
#define INSTRUCTION "ecall"
#define START ".option push\n .option norelax\n la gp, __global_pointer$\n .option pop\n" \
              " mv a0, sp\n tail begin"
#define ELF_MACHINE 243
#elif defined(__powerpc64__)
#define REGISTERS(N) N("r0", "r3", "r4", "r5", "r6", "r7")
#define INSTRUCTION "sc\n bns+ 1f\n neg %1, %1\n 1:"
#define CHANGED "cr0", "ctr", "xer", "r8", "r9", "r10", "r11", "r12"
#define START "addis 2, 12, .TOC.-_start@ha\n addi 2, 2, .TOC.-_start@l\n mr 3, 1\n li 0, 0\n" \
              " stdu 0, -32(1)\n bl begin\n nop"
#define ELF_MACHINE 21
#elif defined(__s390x__)
#define REGISTERS(N) N("r1", "r2", "r3", "r4", "r5", "r6")
#define INSTRUCTION "svc 0"
#define START "lgr %r2, %r15\n aghi %r15, -160\n jg begin"
#define ELF_MACHINE 22
#endif
#ifndef CHANGED
#define CHANGED "cc"
#endif
#ifndef RESULT
#define RESULT a_
#endif

static inline long call(long number, long a, long b, long c, long d, long e)
{
#define DECLARED(N, A, B, C, D, E) \
    register long n_ __asm__(N) = number, a_ __asm__(A) = a, b_ __asm__(B) = b; \
    register long c_ __asm__(C) = c, d_ __asm__(D) = d, e_ __asm__(E) = e
    REGISTERS(DECLARED);
    __asm__ volatile(INSTRUCTION : "+r"(n_), "+r"(a_), "+r"(b_), "+r"(c_), "+r"(d_), "+r"(e_)
                     : : "memory", CHANGED);
    return RESULT;
}

/* CALL(name, arguments): one to five arguments; the others are 0. */
#define CALL(name, ...) FIVE(NR_##name, __VA_ARGS__, 0, 0, 0, 0, 0)
#define FIVE(number, a, b, c, d, e, ...) \
    call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

/* Like vfork(2): the child has this process's memory, and runs on its stack until it ends. */
#define VFORK(flags) \
    (ELF_MACHINE == 22 ? CALL(clone, 0, CLONE_VM | CLONE_VFORK | (flags)) /* the stack is first */ \
                       : CALL(clone, CLONE_VM | CLONE_VFORK | (flags), 0))

struct part { char *base; uint64_t length; }; /* struct iovec */
struct message { /* struct msghdr */
    uint64_t name, name_length; struct part *parts; uint64_t part_count;
    void *control; uint64_t control_length; int flags;
};
struct status { /* statx(2); times are seconds and nanoseconds */
    uint32_t mask, block_size; uint64_t attributes; uint32_t links, uid, gid; uint16_t mode, spare;
    uint64_t inode, size, blocks, attributes_mask;
    int64_t accessed[2], created[2], changed[2], modified[2];
    uint32_t special_device[2], device[2]; uint64_t rest[14];
};
struct filter_line { uint16_t code; uint8_t if_true, if_false; uint32_t k; }; /* linux/filter.h */
