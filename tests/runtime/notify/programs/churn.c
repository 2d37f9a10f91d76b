/* churn WHAT COUNT: make something that a supervisor remembers, and remove it, COUNT times, in the
 * current directory.  Prints each wrong answer.
 *
 * Each round has another owner, because the supervisor must forget owners, too. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define BATCH 4000

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void make(const char *name)
{
    int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
    must(fd >= 0, "open");
    close(fd);
}

static void files(int i)
{
    make("f");
    must(chown("f", i + 1, i + 2) == 0, "chown");
    must(unlink("f") == 0, "unlink");
}

/* Many at once: more than the supervisor holds open, and more events than the kernel queues. */
static void batches(int i)
{
    char name[16];
    sprintf(name, "f%d", i % BATCH);
    make(name);
    must(chown(name, i + 1, 2) == 0, "chown");
    if (i % BATCH == BATCH - 1)
        for (int j = 0; j < BATCH; j++) {
            sprintf(name, "f%d", j);
            must(unlink(name) == 0, "unlink");
        }
}

static void devices(int i)
{
    must(mknod("d", S_IFCHR | 0600, makedev(1 + i % 9, i)) == 0, "mknod");
    must(rename("d", "e") == 0, "rename");
    must(link("e", "d") == 0, "link");
    must(unlink("d") == 0 && unlink("e") == 0, "unlink");
}

static void directories(int i)
{
    must(mkdir("d", 0755) == 0 && symlink("d", "l") == 0, "mkdir");
    must(chown("d", i + 1, 3) == 0 && lchown("l", i + 1, 3) == 0, "chown");
    must(rmdir("d") == 0, "rmdir");
    make("f");
    must(rename("f", "l") == 0 && unlink("l") == 0, "rename");
}

static void attributes(int i)
{
    char value[512];
    memset(value, i, sizeof value);
    if (i == 0)
        make("kept");
    make("f");
    must(setxattr("f", "trusted.churn", value, sizeof value, 0) == 0, "setxattr");
    must(setxattr("kept", "trusted.churn", value, sizeof value, 0) == 0, "setxattr");
    must(removexattr("kept", "trusted.churn") == 0, "removexattr");
    must(unlink("f") == 0, "unlink");
}

static void lists(int i)
{
    /* Version 2; user::rwx, user:7:r-x, group::r-x, mask::rwx, other::r-x. */
    unsigned acl[] = {2,           0x00070001, -1u, 0x00050002, 7,  0x00050004,
                      -1u,         0x00070010, -1u, 0x00050020, -1u};
    if (i == 0) {
        must(mkdir("d", 0755) == 0, "mkdir");
        must(setxattr("d", "system.posix_acl_default", acl, sizeof acl, 0) == 0, "default");
    }
    make("d/f");
    acl[4] = i + 1;
    must(setxattr("d/f", "system.posix_acl_access", acl, sizeof acl, 0) == 0, "access");
    must(unlink("d/f") == 0, "unlink");
}

static void sockets(int i)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "s"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    must(fd >= 0, "socket");
    setfsuid(1 + i % 5);
    must(bind(fd, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    close(fd);
    must(unlink("s") == 0, "unlink");
}

static void identities(int i)
{
    setfsuid(i + 1);
    must((int)setfsuid(i + 1) == i + 1, "setfsuid");
}

static void groups(int i)
{
    gid_t some[100];
    for (unsigned j = 0; j < COUNT(some); j++)
        some[j] = 100 * i + j;
    must(syscall(SYS_setgroups, COUNT(some), some) == 0, "setgroups");
}

static void processes(int i)
{
    int status;
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        must(setresuid(i + 1, i + 2, i + 3) == 0, "setresuid");
        must((int)geteuid() == i + 2, "geteuid");
        _exit(0);
    }
    must(waitpid(child, &status, 0) == child && status == 0, "child");
}

/* A process that stays.  The supervisor must not give its tag to another process. */
static int stay(void)
{
    int status, pipes[2];
    char end;
    must(pipe(pipes) == 0, "pipe");
    if (fork() == 0) {
        must(setresuid(70000, 70001, 70002) == 0, "setresuid");
        close(pipes[1]);
        if (fork() != 0) { /* the process that stays did not change its identity */
            must(wait(&status) > 0, "wait");
            _exit(status != 0);
        }
        must(read(pipes[0], &end, 1) == 0, "read");
        _exit(geteuid() != 70001 || getuid() != 70000);
    }
    close(pipes[0]);
    return pipes[1];
}

static const struct {
    const char *name;
    void (*round)(int);
} rounds[] = {
    {"files", files},           {"batches", batches},       {"devices", devices},
    {"directories", directories}, {"attributes", attributes}, {"lists", lists},
    {"sockets", sockets},       {"identities", identities}, {"groups", groups},
    {"processes", processes},
};

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    for (unsigned which = 0; which < COUNT(rounds); which++)
        if (strcmp(rounds[which].name, argv[1]) == 0) {
            int status, end = stay();
            for (int i = 0; i < atoi(argv[2]); i++)
                rounds[which].round(i);
            close(end);
            must(wait(&status) > 0 && status == 0, "the process that stayed");
            return 0;
        }
    return 2;
}
