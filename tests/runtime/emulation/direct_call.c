/* Make system calls without a library: one for each line of standard input,

       ENTRY NUMBER [ARGUMENT...]

   ENTRY is "native", or on x86-64 "int80": this 64-bit program then uses the i386 table.  An
   ARGUMENT is a number or a string.  A string starts with "/", and the call gets its address.
   Missing arguments are 0.  Prints each result of the kernel: an error is a negative errno.

   Build it static and not relocatable, so that the strings are below 4 GiB, as i386 needs. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS 6

#if defined __x86_64__

static long native(long number, const long *a)
{
    long result = number;
    register long r10 __asm__("r10") = a[3];
    register long r8 __asm__("r8") = a[4];
    register long r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static long int80(long number, const long *a)
{
    long result = number;
    /* A sixth argument would go into ebp.  No call here has one. */
    __asm__ volatile("int $0x80"
                     : "+a"(result)
                     : "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
                     : "r8", "r9", "r10", "r11", "memory");
    return (int)result;
}

#else

#include <errno.h>
#include <unistd.h>

static long native(long number, const long *a)
{
    long result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    return result == -1 ? -errno : result;
}

static long int80(long number, const long *a)
{
    (void)number;
    (void)a;
    fprintf(stderr, "int80: not on this machine\n");
    exit(2);
}

#endif

int main(void)
{
    static char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        long arguments[ARGUMENTS] = {0};
        const char *entry = strtok(line, " \n");
        const char *number = strtok(NULL, " \n");
        if (!entry || !number) {
            fprintf(stderr, "usage: ENTRY NUMBER [ARGUMENT...]\n");
            return 2;
        }
        for (int i = 0; i < ARGUMENTS; i++) {
            char *word = strtok(NULL, " \n");
            if (!word)
                break;
            arguments[i] = *word == '/' ? (long)word : strtol(word, NULL, 0);
        }
        long (*enter)(long, const long *) = strcmp(entry, "int80") ? native : int80;
        printf("%ld\n", enter(strtol(number, NULL, 0), arguments));
    }
    return 0;
}
