/* refused [FILE]: calls that few programs make, and what they say to a user who is not root.
 *
 * Run it as root in an empty directory.  With FILE, set and remove its attributes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static void result(const char *name, long value)
{
    printf("%s: %s\n", name, value < 0 ? strerror(errno) : "done");
}

/* A signal with a value goes to one process, and never to a group. */
static void queue(const char *name, pid_t target)
{
    siginfo_t info = {.si_code = SI_QUEUE};
    result(name, syscall(SYS_rt_sigqueueinfo, target, SIGTERM, &info));
}

static void bind_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(address.sun_path, path);
    result(path, bind(fd, (struct sockaddr *)&address, sizeof address));
    close(fd);
}

static void open_at(const char *path, uint64_t flags)
{
    uint64_t how[3] = {flags, 0, 0};
    int fd = syscall(SYS_openat2, AT_FDCWD, path, how, sizeof how);
    result(path, fd);
    close(fd);
}

static void attributes(const char *path)
{
    static const char *const names[] = {"user.a", "trusted.a", "security.a", "security.capability",
                                        "system.posix_acl_access", "system.posix_acl_default"};
    for (unsigned at = 0; at < sizeof names / sizeof *names; at++) {
        result(names[at], setxattr(path, names[at], "x", 1, 0));
        result(names[at], removexattr(path, names[at]));
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        if (setgid(106) || setuid(104))
            return 1;
        attributes(argv[1]);
        return 0;
    }
    mkdir("roots", 0755);
    mkdir("closed", 0700);
    mkdir("free", 0777);
    chmod("free", 0777);
    mkdir("/fd", 0755); /* no descriptor of a process */
    close(open("/fd/0", O_CREAT | O_WRONLY, 0600));
    if (symlink("/proc/self/status", "status") || setgid(106) || setuid(104))
        return 1;
    setvbuf(stdout, NULL, _IONBF, 0);

    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    queue("to all", -1);
    queue("to the group", 0);
    queue("to a group", -getpgrp());
    queue("to nobody", 1 << 22);
    queue("to root", getppid());
    printf("the child has ended: %d\n", waitpid(child, NULL, WNOHANG) != 0);
    queue("to the child", child);
    waitpid(child, NULL, 0);

    bind_at("free/socket");
    bind_at("free/socket");
    bind_at("free/none/socket");
    bind_at("roots/socket");
    bind_at("closed/socket");
    bind_at("socket");

    open_at("/fd/0", O_WRONLY | O_TRUNC);
    open_at("status", O_RDONLY);
    open_at("status", O_RDONLY | O_NOFOLLOW);
    open_at("status", O_RDONLY | O_DIRECTORY);
    return 0;
}
