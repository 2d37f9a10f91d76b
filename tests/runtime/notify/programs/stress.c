/* stress signals | children COUNT | prodded SIGNAL | narrow SIGNAL | made COUNT | first | starts COUNT SET_ID BAD | short COUNT | bomb SECONDS: try to exhaust a supervisor; print
 * all errors.
 *
 * Run it in an empty directory. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

/* A file that another user makes is never root's, whoever looks at it. */
static int made(unsigned count)
{
    static const char *const names[] = {"pub/x", "pub/d", "pub/l", "pub/d/x"};
    volatile struct { unsigned over, seen, wrong; } *all;
    struct stat st;
    all = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    umask(0);
    mkdir("pub", 0777);
    for (int looks = 0; looks < 3; looks++) {
        if (fork())
            continue;
        while (!all->over)
            for (int at = 0; at < 4; at++)
                if (lstat(names[at], &st) == 0) {
                    __sync_fetch_and_add(&all->seen, 1);
                    if (st.st_uid != 104 || st.st_gid != 107)
                        __sync_fetch_and_add(&all->wrong, 1);
                }
        _exit(0);
    }
    if (setgid(107) || setuid(104))
        return 1;
    while (count--) {
        close(open(names[0], O_CREAT | O_WRONLY, 0644));
        mkdir(names[1], 0755);
        symlink("x", names[2]);
        close(open(names[3], O_CREAT | O_WRONLY, 0644));
        unlink(names[3]);
        unlink(names[2]);
        rmdir(names[1]);
        unlink(names[0]);
    }
    all->over = 1;
    while (wait(NULL) > 0)
        ;
    fprintf(stderr, "%u seen\n", all->seen);
    printf("%u wrong\n", all->wrong);
    return all->wrong != 0;
}

/* That is true of the first file, too, though it was looked for before there was another user.
 * The three processes that look are idle ones on a processor with others that never sleep. */
static int first(void)
{
    volatile struct { unsigned over, turns[6], wrong; } *all;
    struct sched_param none = {0};
    struct stat st;
    cpu_set_t there, elsewhere;
    int processor = sched_getcpu();
    sched_getaffinity(0, sizeof elsewhere, &elsewhere);
    CPU_CLR(processor, &elsewhere);
    CPU_ZERO(&there);
    CPU_SET(processor, &there);
    all = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int at = 0; at < 6; at++) {
        int looks = at < 3;
        if (fork())
            continue;
        if (sched_setaffinity(0, sizeof there, &there) ||
            (looks && syscall(SYS_sched_setscheduler, 0, SCHED_IDLE, &none))) /* musl has none */
            all->wrong = 99;
        while (!all->over) {
            if (looks && lstat("x", &st) == 0 && st.st_uid != 104)
                __sync_fetch_and_add(&all->wrong, 1);
            all->turns[at]++;
        }
        _exit(0);
    }
    sched_setaffinity(0, sizeof elsewhere, &elsewhere); /* there may be none */
    for (int at = 0; at < 6; at++)
        while (!all->turns[at])
            usleep(100);
    if (setuid(104))
        return 1;
    close(open("x", O_CREAT | O_WRONLY, 0644));
    all->over = 1;
    while (wait(NULL) > 0)
        ;
    unlink("x"); /* a further container begins without a record */
    printf("%u wrong\n", all->wrong);
    return all->wrong != 0;
}

/* Start a set-ID program, and what is none, among signals; return how often that went wrong. */
static unsigned starts(unsigned count, const char *set_id, const char *bad)
{
    struct sigaction action = {.sa_handler = nothing};
    struct itimerval timer = {{0, 9000}, {0, 9000}}, none = {{0, 0}, {0, 0}};
    unsigned wrong = 0;
    int status;
    for (unsigned at = 0; at < count; at++) {
        pid_t pid = fork();
        if (pid == 0) {
            if (at % 4 == 1) {
                sigaction(SIGALRM, &action, NULL);
                setitimer(ITIMER_REAL, &timer, NULL);
                do
                    execl(bad, bad, NULL);
                while (errno == EINTR);
                if (errno != ENOEXEC)
                    _exit(98);
                setitimer(ITIMER_REAL, &none, NULL);
            }
            execl(set_id, set_id, "secure", NULL);
            _exit(99);
        }
        if (at % 4 == 2) {
            kill(pid, SIGSTOP);
            usleep(at % 16 * 100);
            kill(pid, SIGCONT);
        }
        if (at % 4 == 3) {
            usleep(at % 64 * 100);
            kill(pid, SIGKILL);
        }
        if (waitpid(pid, &status, 0) != pid || (status != 1 << 8 && (at % 4 != 3 || status != SIGKILL))) {
            fprintf(stderr, "%u: %#x\n", at, status);
            wrong++;
        }
    }
    return wrong;
}

/* Four processes of another user start programs that are secure. */
static int secure_starts(unsigned count, const char *set_id, const char *bad)
{
    unsigned wrong = 0;
    int status;
    if (setgid(106) || setuid(104))
        return 1;
    for (int at = 0; at < 4; at++)
        if (fork() == 0)
            _exit(starts(count, set_id, bad));
    while (wait(&status) > 0)
        wrong += WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    printf("%u wrong\n", wrong);
    return wrong != 0;
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
    if (argc == 3 && strcmp(argv[1], "made") == 0)
        return made(strtoul(argv[2], NULL, 10));
    if (argc == 2 && strcmp(argv[1], "first") == 0)
        return first();
    if (argc == 5 && strcmp(argv[1], "starts") == 0)
        return secure_starts(strtoul(argv[2], NULL, 10), argv[3], argv[4]);
    if (argc == 2 && strcmp(argv[1], "secure") == 0)
        return getauxval(AT_SECURE);
    if (argc == 3 && strcmp(argv[1], "short") == 0)
        return short_lived(strtoul(argv[2], NULL, 10));
    if (argc == 3 && strcmp(argv[1], "bomb") == 0)
        return bomb(atoi(argv[2]));
    return 2;
}
