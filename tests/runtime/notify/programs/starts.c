/* starts ACTION [WORD...]: start programs, and print as whom they start.
 *
 * show                 the IDs, and what the auxiliary vector says if AT_SECURE is on
 * ids                  the IDs alone
 * traced WORD...       run a program, and trace it
 * thread WORD...       start a program from another thread than the first
 * vfork WORD...        run a program that shares this one's memory at first
 * dumpable [ID]        print PR_GET_DUMPABLE through changes of IDs, from another user's, and back
 * limits               set RLIMIT_LOCKS, also as another user, and of another process
 * lease FILE           take a lease on a file, as O_PATH and for reading
 * looks                stat(2) and its like where there is no file */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int ids(const char *end)
{
    return printf("uid %u %u, gid %u %u%s", getuid(), geteuid(), getgid(), getegid(), end) < 0;
}

static int show(void)
{
    ids("");
    printf(", secure %lu", getauxval(AT_SECURE));
    if (getauxval(AT_SECURE))
        printf(", in the vector %lu %lu %lu %lu", getauxval(AT_UID), getauxval(AT_EUID),
               getauxval(AT_GID), getauxval(AT_EGID));
    printf(", dumpable %d\n", prctl(PR_GET_DUMPABLE) == 1);
    return 0;
}

static int failed(const char *what)
{
    printf("%s: %s\n", what, strerror(errno));
    return 1;
}

static int traced(char **words)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        execv(words[0], words);
        _exit(failed(words[0]));
    }
    while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status))
        ptrace(PTRACE_CONT, pid, 0, WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status));
    return WEXITSTATUS(status);
}

static void *start(void *words)
{
    execv(*(char **)words, words);
    _exit(failed(*(char **)words));
}

static int thread(char **words)
{
    pthread_t other;
    pthread_create(&other, NULL, start, words);
    pthread_join(other, NULL);
    return 1;
}

static int vforked(char **words)
{
    int status;
    setenv("MINE", "kept", 1);
    pid_t pid = vfork();
    if (pid == 0) {
        execv(words[0], words);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    printf("exit status %d, MINE is %s\n", WEXITSTATUS(status), getenv("MINE"));
    return 0;
}

static int told(const char *when)
{
    return printf("%s: %d\n", when, prctl(PR_GET_DUMPABLE) == 1);
}

static int dumpable(void)
{
    struct stat status;
    told("at the start");
    seteuid(104);
    told("another user");
    stat("/proc/self/environ", &status);
    printf("environ is %u's", status.st_uid);
    stat("/proc/self", &status);
    printf(", the directory is %u's\n", status.st_uid);
    seteuid(0);
    told("root again");
    prctl(PR_SET_DUMPABLE, 1);
    told("set");
    printf("2: %s\n", prctl(PR_SET_DUMPABLE, 2) ? strerror(errno) : "done");
    setegid(106);
    told("another group");
    prctl(PR_SET_DUMPABLE, 1);
    setgroups(0, NULL);
    told("no groups");
    if (fork() == 0) {
        prctl(PR_SET_DUMPABLE, 0);
        told("child");
        setegid(0);
        execl("/proc/self/exe", "starts", "show", NULL);
        _exit(failed("execl"));
    }
    wait(NULL);
    setegid(0);
    told("root's group again");
    execl("/proc/self/exe", "starts", "show", NULL);
    return failed("execl");
}

static void limit(const char *when, pid_t pid, rlim_t soft, rlim_t hard)
{
    struct rlimit wanted = {soft, hard}, before = {7, 7};
    const char *answer = prlimit(pid, RLIMIT_LOCKS, &wanted, &before) ? strerror(errno) : "done";
    struct rlimit now = {7, 7};
    getrlimit(RLIMIT_LOCKS, &now);
    printf("%s: %s, from %ld %ld, now %ld %ld\n", when, answer, (long)before.rlim_cur,
           (long)before.rlim_max, (long)now.rlim_cur, (long)now.rlim_max);
}

static int limits(void)
{
    int channel[2];
    char byte;
    limit("first", 0, 100, 200);
    limit("too much", 0, 301, 300);
    limit("less", 0, 50, 60);
    struct rlimit set = {40, 60}, narrow = {0};
    printf("setrlimit: %d\n", setrlimit(RLIMIT_LOCKS, &set));
    printf("getrlimit: %ld\n", syscall(SYS_prlimit64, 0, RLIMIT_LOCKS, NULL, &narrow));
    printf("no address: %s\n", syscall(SYS_prlimit64, 0, RLIMIT_LOCKS, 1L, NULL) ? strerror(errno) : "done");
    printf("no process: %s\n", syscall(SYS_prlimit64, 99999999, RLIMIT_LOCKS, NULL, &narrow) ? strerror(errno) : "done");
    if (pipe(channel))
        return failed("pipe");
    pid_t pid = fork();
    if (pid == 0) {
        limit("in a child", 0, 50, 60);
        if (getppid() == 0 || setgid(106) || setuid(104))
            return failed("become");
        printf("another's: %s\n", prlimit(1, RLIMIT_LOCKS, NULL, &set) ? strerror(errno) : "done");
        limit("as a user", 0, 40, 60);
        limit("as a user, more", 0, 40, 61);
        limit("its own, by number", getpid(), 30, 60);
        if (write(channel[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    if (read(channel[0], &byte, 1) != 1)
        return failed("read");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return fflush(stdout) || execl("/bin/grep", "grep", "Max file locks", "/proc/self/limits", NULL);
}

static int lease(const char *file)
{
    static const int flags[] = {O_PATH, O_RDONLY};
    for (int at = 0; at < 2; at++) {
        int fd = open(file, flags[at]);
        printf("%s %s, ", at ? "reading" : "path", fcntl(fd, F_SETLEASE, F_RDLCK) ? strerror(errno) : "done");
        printf("%s\n", fcntl(fd, F_SETLEASE, F_UNLCK) ? strerror(errno) : "done");
    }
    return fcntl(99, F_SETLEASE, F_RDLCK) == 0;
}

static void look(const char *name, int dirfd, const char *path, int flags)
{
    struct stat status;
    char buffer[256];
    printf("%s %#x:", name, flags);
    printf(" %s,", syscall(SYS_newfstatat, dirfd, path, &status, flags) ? strerror(errno) : "found");
    printf(" %s,", syscall(SYS_statx, dirfd, path, flags, 0x7ff, buffer) ? strerror(errno) : "found");
    printf(" %s\n", syscall(SYS_statx, dirfd, path, flags, 1L << 31, buffer) ? strerror(errno) : "found");
}

static int looks(void)
{
    static const int flags[] = {0, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, 0x2000, 0x6000, 0x40000000, 1};
    char far[5000];
    memset(far, '/', sizeof far - 2);
    strcpy(far + sizeof far - 2, "x");
    mkdir("d", 0755);
    close(open("f", O_CREAT | O_WRONLY, 0644));
    symlink("none", "l");
    symlink("/proc/self/cwd", "here");
    symlink("/proc/self/fd/77", "gone");
    int fd = open("d", O_RDONLY), other = open("/tmp", O_RDONLY);
    static const char *const paths[] = {
        "none", "d/none", "none/none", "f/none", "f/", "l", "l/x", "here/none", "here/d", "here/none/x",
        "gone", "gone/x", "/none", "/tmp/w/d/../none", "/proc/self/none", "/proc/none", "/proc/self/fd/77",
        "/proc/self/fd/77/x", "/dev/none", "/dev/fd/77", "/dev/shm/none", "", "d/", "none/", "./",
        "/proc/self/cwd/none", "/proc/self/root/none", "/proc/self/cwd/d", "/proc/thread-self/none"};
    for (unsigned at = 0; at < sizeof flags / sizeof *flags; at++) {
        for (unsigned path = 0; path < sizeof paths / sizeof *paths; path++)
            look(paths[path], AT_FDCWD, paths[path], flags[at]);
        look("in d", fd, "none", flags[at]);
        look("from d", fd, "../f", flags[at]);
        look("in none", 78, "none", flags[at]);
        look("none at all", 78, "", flags[at]);
        look("no path", fd, NULL, flags[at]);
        look("bad path", fd, (char *)1, flags[at]);
        look("too far", fd, far, flags[at]);
        look("/ by descriptor", other, "/none", flags[at]);
        look("/ by none", 78, "/none", flags[at]);
    }
    printf("owner: %s, ", syscall(SYS_fchownat, fd, NULL, 5, 6, AT_EMPTY_PATH) ? strerror(errno) : "set");
    printf("link: %s\n", syscall(SYS_linkat, fd, NULL, fd, "x", AT_EMPTY_PATH) ? strerror(errno) : "made");
    return 0;
}

int main(int argc, char **argv)
{
    const char *action = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IONBF, 0);
    if (strcmp(action, "show") == 0)
        return show();
    if (strcmp(action, "ids") == 0)
        return ids("\n");
    if (strcmp(action, "dumpable") == 0)
        return dumpable();
    if (strcmp(action, "limits") == 0)
        return limits();
    if (strcmp(action, "looks") == 0)
        return looks();
    if (argc > 2 && strcmp(action, "lease") == 0)
        return lease(argv[2]);
    if (argc > 2 && strcmp(action, "traced") == 0)
        return traced(argv + 2);
    if (argc > 2 && strcmp(action, "thread") == 0)
        return thread(argv + 2);
    if (argc > 2 && strcmp(action, "vfork") == 0)
        return vforked(argv + 2);
    return 2;
}
