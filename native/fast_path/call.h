/* System calls, by the one instruction that the filter of notify knows, and by any other one.
 * A call returns the kernel's result; a failure is -errno. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "fast_path_generated.h"

/* The section comes first, at a fixed address.  The address after the instruction is that of
 * notify/seccomp/program.py. */
__asm__(".pushsection .fast, \"ax\", @progbits\n"
        ".hidden fast_call\n .globl fast_call\n .type fast_call, @function\n"
        "fast_call: mov %rdi, %rax\n mov %rsi, %rdi\n mov %rdx, %rsi\n mov %rcx, %rdx\n"
        " mov %r8, %r10\n mov %r9, %r8\n syscall\n ret\n .size fast_call, . - fast_call\n"
        ".popsection");
__attribute__((visibility("hidden"))) long fast_call(long, long, long, long, long, long);

static long slow_call(long number, long a, long b, long c, long d, long e)
{
    register long d_ __asm__("r10") = d, e_ __asm__("r8") = e;
    __asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c), "r"(d_), "r"(e_)
                     : "memory", "cc", "rcx", "r11");
    return number;
}

#define STRING(name) STRING_OF(name)
#define STRING_OF(text) #text

/* FAST(name, arguments), SLOW(name, arguments): one to five arguments; the others are 0. */
#define FAST(name, ...) FIVE(fast_call, NR_##name, __VA_ARGS__, 0, 0, 0, 0, 0)
#define SLOW(name, ...) FIVE(slow_call, NR_##name, __VA_ARGS__, 0, 0, 0, 0, 0)
#define FIVE(call, number, a, b, c, d, e, ...) \
    call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

/* What the C library has.  No name must exist, so that no loader has a reason for a message. */
#define WEAK __attribute__((weak))
extern int *__errno_location(void) WEAK;
extern const char *gnu_get_libc_version(void) WEAK;
extern char **environ WEAK;
extern char __libc_single_threaded WEAK;

/* Whether this process surely has one thread. */
static int has_one_thread(void) { return &__libc_single_threaded && __libc_single_threaded; }

/* A function of the C library that this library replaces. */
#define SHOWN __attribute__((visibility("default")))
#define SAME_AS(name) SHOWN __attribute__((alias(#name)))

/* The result of a call as the C library returns it. */
static long returned(long result)
{
    if (result >= 0 || result < -4095) return result;
    if (__errno_location) *__errno_location() = -result;
    return -1;
}
