/* stress signals | children COUNT | prodded SIGNAL | narrow SIGNAL | short COUNT | bomb SECONDS: try to exhaust a supervisor; print all errors.
 *
 * Run it in an empty directory. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "i386.h"

static void nothing(int number) { (void)number; }

/* A signal may interrupt a call only before the supervisor has done it. */
static int signals(void)
{
    struct sigaction action = {.sa_handler = nothing}; /* no SA_RESTART */
    struct itimerval timer = {{0, 30}, {0, 30}};
    unsigned interrupted = 0, wrong = 0;
    struct stat st;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    for (unsigned count = 0; count < 2000; count++) {
        int result;
        while ((result = mknod("c", S_IFCHR | 0600, makedev(1, 3))) < 0 && errno == EINTR)
            interrupted++;
        wrong += result < 0;
        while ((result = lchown("c", count, count + 1)) < 0 && errno == EINTR)
            interrupted++;
        wrong += result < 0;
        while ((result = lstat("c", &st)) < 0 && errno == EINTR)
            interrupted++;
        wrong += result < 0 || st.st_uid != count || !S_ISCHR(st.st_mode);
        while (unlink("c") < 0 && errno == EINTR)
            ;
    }
    fprintf(stderr, "%u calls interrupted\n", interrupted);
    printf("%u wrong\n", wrong);
    return wrong != 0;
}

/* A child that ends while its parent makes calls interrupts none of them. */
static int children(unsigned count)
{
    struct sigaction action = {.sa_handler = nothing}; /* no SA_RESTART */
    unsigned interrupted = 0;
    struct stat st;
    sigaction(SIGCHLD, &action, NULL);
    while (count--) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        for (int calls = 0; calls < 20; calls++)
            interrupted += lstat("/bin", &st) < 0 || getuid();
        waitpid(pid, NULL, 0);
    }
    printf("%u interrupted\n", interrupted);
    return interrupted != 0;
}

/* A signal that comes again and again interrupts no call: print how many it interrupted. */
static int prodded(int number)
{
    struct sigaction action = {.sa_handler = nothing}; /* no SA_RESTART */
    unsigned interrupted = 0;
    struct stat st;
    sigaction(number, &action, NULL);
    pid_t prodding = fork();
    if (prodding == 0)
        for (;;)
            kill(getppid(), number);
    for (int calls = 0; calls < 5000; calls++)
        interrupted += lstat("/bin", &st) < 0;
    kill(prodding, SIGKILL);
    printf("%u interrupted\n", interrupted);
    return interrupted != 0;
}

#define I386_RT_SIGACTION 174

/* A 32-bit program's handler of signal "number": print whether calls start again after it. */
static int narrow_handler(int number)
{
    static unsigned narrow[5]; /* handler, flags, restorer, mask; below 4 GiB */
    struct sigaction action;
    narrow[0] = (unsigned)(unsigned long)nothing;
    if (i386_call(I386_RT_SIGACTION, number, (long)narrow, 0, 8, 0) ||
        sigaction(number, NULL, &action))
        return 2;
    printf("restarts: %d\n", !!(action.sa_flags & SA_RESTART));
    return 0;
}

/* Processes change their identity and die, some of them during a call.  Later processes get the
 * same process IDs, and must be root. */
static int short_lived(unsigned count)
{
    unsigned wrong = 0;
    chmod(".", 0777);
    while (count--) {
        pid_t pid = fork();
        if (pid == 0) {
            if (getuid() || geteuid())
                _exit(1);
            if (count % 3 == 0)
                _exit(setresuid(count, count, count) || getuid() != count);
            if (count % 3 == 1) {
                char *arguments[] = {"true", NULL};
                execv("/bin/true", arguments);
                _exit(1);
            }
            for (;;)
                mkdir("made", 0777), chown("made", 5, 6), rmdir("made");
        }
        int status;
        if (count % 3 == 2) {
            usleep(300);
            kill(pid, SIGKILL);
        }
        wrong += waitpid(pid, &status, 0) != pid || (WIFEXITED(status) && WEXITSTATUS(status));
    }
    printf("%u wrong\n", wrong);
    return wrong != 0;
}

static volatile struct {
    unsigned processes, refused, wrong;
} *shared;

static void explode(time_t end)
{
    while (time(NULL) < end) {
        pid_t pid = fork();
        if (pid < 0) {
            __sync_fetch_and_add(&shared->refused, 1);
            struct stat st;
            if (lstat("/bin", &st) < 0 || st.st_uid || getuid())
                __sync_fetch_and_add(&shared->wrong, 1);
            usleep(1000);
        } else if (pid == 0) {
            __sync_fetch_and_add(&shared->processes, 1);
        }
    }
}

/* Every process forks as often as it can, up to the user's limit of processes. */
static int bomb(int seconds)
{
    struct rlimit limit = {150, 150};
    pid_t first = getpid();
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    setrlimit(RLIMIT_NPROC, &limit);
    explode(time(NULL) + seconds);
    while (wait(NULL) > 0)
        ;
    if (getpid() != first)
        _exit(0);
    fprintf(stderr, "%u processes\n", shared->processes);
    printf("refused: %d, %u wrong\n", shared->refused > 0, shared->wrong);
    return shared->wrong != 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "signals") == 0)
        return signals();
    if (argc == 3 && strcmp(argv[1], "children") == 0)
        return children(strtoul(argv[2], NULL, 10));
    if (argc == 3 && strcmp(argv[1], "prodded") == 0)
        return prodded(atoi(argv[2]));
    if (argc == 3 && strcmp(argv[1], "narrow") == 0)
        return narrow_handler(atoi(argv[2]));
    if (argc == 3 && strcmp(argv[1], "short") == 0)
        return short_lived(strtoul(argv[2], NULL, 10));
    if (argc == 3 && strcmp(argv[1], "bomb") == 0)
        return bomb(atoi(argv[2]));
    return 2;
}
