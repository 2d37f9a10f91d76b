/* A program that gives itself a filter of system calls has seen to the calls that it makes.  This
 * library makes others: getrlimit, or a stat before an open.  So it makes none any more, and is not
 * loaded by the programs that the process executes. */
enum { PR_SET_SECCOMP = 22 };

SHOWN int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
    if (option == PR_SET_SECCOMP) is_filtered = 1;
    return returned(SLOW(prctl, option, a, b, c, d));
}

/* syscall(3).  It has no frame, because a call may return twice. */
__asm__(".globl syscall\n .type syscall, @function\n"
        "syscall: cmp $" STRING(NR_seccomp) ", %rdi\n jne 1f\n movb $1, is_filtered(%rip)\n"
        "1: mov %rdi, %rax\n mov %rsi, %rdi\n mov %rdx, %rsi\n mov %rcx, %rdx\n mov %r8, %r10\n"
        " mov %r9, %r8\n mov 8(%rsp), %r9\n syscall\n cmp $-4095, %rax\n jae 2f\n ret\n"
        "2: mov %rax, %rdi\n jmp returned_late\n .size syscall, . - syscall\n");
__attribute__((visibility("hidden"), used)) long returned_late(long result)
{
    return returned(result);
}
