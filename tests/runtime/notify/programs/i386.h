/* The i386 table of calls, which a 64-bit program on x86-64 reaches by "int $0x80".
 *
 * Pointers must be below 4 GiB. */
#include <errno.h>

#ifdef __x86_64__

static long i386_call(long number, long a, long b, long c, long d, long e)
{
    long result = number;
    __asm__ volatile("int $0x80"
                     : "+a"(result)
                     : "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
                     : "r8", "r9", "r10", "r11", "memory");
    return (int)result;
}

#else

#define MAP_32BIT 0

static long i386_call(long number, long a, long b, long c, long d, long e)
{
    (void)number, (void)a, (void)b, (void)c, (void)d, (void)e;
    return -ENOSYS;
}

#endif
