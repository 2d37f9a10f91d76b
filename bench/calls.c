/* calls [BATCHES [CALLS]]: what system calls cost, in nanoseconds: the least of batches of each.
 *
 * Static, so that it measures the kernel and whoever answers for it, and no C library's cache. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int fd;
static struct stat st;

static void id(void) { syscall(SYS_geteuid); }
static void descriptor(void) { syscall(SYS_fstat, fd, &st); }
static void name(void) { syscall(SYS_lstat, "/tmp/plain", &st); }
static void recorded(void) { syscall(SYS_lstat, "/tmp/owned", &st); }
static void owner(void) { syscall(SYS_lchown, "/tmp/owned", 5, 6); }
static void parent(void) { syscall(SYS_getppid); }

static const struct {
    const char *label;
    void (*call)(void);
} calls[] = {{"getppid", parent},     {"geteuid", id},           {"fstat", descriptor},
             {"lstat", name},         {"lstat-recorded", recorded}, {"lchown", owner}};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

int main(int argc, char **argv)
{
    int batches = argc > 1 ? atoi(argv[1]) : 50, count = argc > 2 ? atoi(argv[2]) : 2000;
    fd = open("/tmp/plain", O_CREAT | O_RDWR, 0644);
    close(open("/tmp/owned", O_CREAT | O_RDWR, 0644));
    owner();
    for (unsigned which = 0; which < sizeof calls / sizeof *calls; which++) {
        double least = 1e18;
        for (int batch = 0; batch < batches; batch++) {
            double start = now();
            for (int call = 0; call < count; call++)
                calls[which].call();
            double each = (now() - start) / count;
            least = each < least ? each : least;
        }
        printf("%s %.0f\n", calls[which].label, least);
    }
    return 0;
}
