/* processes: print what different kinds of processes see under an emulation.
 *
 * Threads share an identity; a vfork child has its own.  Other processes must not be traced, run a
 * file without a name, or are at the other end of a socket. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_barrier_t barrier;
static uid_t seen[4];

static void *thread(void *number)
{
    pthread_barrier_wait(&barrier); /* the main thread changes its identity now */
    pthread_barrier_wait(&barrier);
    seen[(long)number] = geteuid();
    return NULL;
}

static void threads(void)
{
    pthread_t ids[4];
    pthread_barrier_init(&barrier, NULL, 5);
    for (long i = 0; i < 4; i++)
        pthread_create(&ids[i], NULL, thread, (void *)i);
    pthread_barrier_wait(&barrier);
    printf("setresuid %d\n", setresuid(104, 104, 104));
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 4; i++) {
        pthread_join(ids[i], NULL);
        printf("thread %u\n", seen[i]);
    }
    printf("back to root: %d %s\n", setuid(0), strerror(errno));
}

static void vforked(void)
{
    fflush(stdout);
    volatile uid_t child_uid = 0;
    pid_t pid = vfork();
    if (pid == 0) {
        syscall(SYS_setresuid, 105, 105, 105);
        child_uid = geteuid();
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    printf("vfork child %u, parent %u\n", child_uid, geteuid());
}

static void show(const char *what, const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        printf("%s: %s\n", what, strerror(errno));
    else
        printf("%s: %u:%u %o\n", what, st.st_uid, st.st_gid, st.st_mode);
}

static void undumpable(void)
{
    prctl(PR_SET_DUMPABLE, 0);
    printf("undumpable: chown %d\n", chown("file", 5, 6));
    show("undumpable", "file");
}

static void by_descriptor(void)
{
    char path[64];
    int fd = open("file", O_RDWR);
    sprintf(path, "/proc/self/fd/%d", fd);
    printf("chown by /proc/self/fd: %d\n", chown(path, 7, 8));
    show("by /proc/self/fd", path);
    sprintf(path, "/dev/fd/%d", fd);
    show("by /dev/fd", path);
    sprintf(path, "/proc/%d/fd/%d", getpid(), fd);
    show("by /proc/PID/fd", path);
    sprintf(path, "/proc/thread-self/fd/%d", fd);
    show("by /proc/thread-self/fd", path);
    show("by /proc/self/cwd", "/proc/self/cwd/file");
    show("by /proc/self/root", "/proc/self/root/tmp/w/file");
    dup2(fd, 0);
    show("by /dev/stdin", "/dev/stdin");
    unlink("file");
    printf("chown of a removed file: %d\n", fchown(fd, 9, 10));
    struct stat st;
    fstat(fd, &st);
    printf("removed: %u:%u links %lu\n", st.st_uid, st.st_gid, (unsigned long)st.st_nlink);
    int path_fd = open(".", O_PATH);
    printf("fchown with O_PATH: %d %s\n", fchown(path_fd, 1, 1), strerror(errno));
    int memory = memfd_create("memory", 0);
    printf("chown of a memfd: %d", fchown(memory, 11, 12));
    fstat(memory, &st);
    printf(" %u:%u\n", st.st_uid, st.st_gid);
    int pipes[2];
    printf("chown of a pipe: %d %d", pipe(pipes), fchown(pipes[0], 13, 14));
    fstat(pipes[1], &st);
    printf(" %u:%u\n", st.st_uid, st.st_gid);
    /* Through a link to a link in /proc. */
    symlink("/proc/self/fd/9", "alias");
    dup2(path_fd, 9);
}

static void peers(void)
{
    int server = socket(AF_UNIX, SOCK_STREAM, 0), ready[2];
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    bind(server, (struct sockaddr *)&address, sizeof address);
    chmod("socket", 0777);
    listen(server, 1);
    pipe(ready);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        gid_t groups[] = {3, 4};
        setgroups(2, groups);
        setresgid(106, 106, 106);
        setresuid(104, 104, 104);
        int client = socket(AF_UNIX, SOCK_STREAM, 0);
        connect(client, (struct sockaddr *)&address, sizeof address);
        struct ucred who;
        socklen_t size = sizeof who;
        getsockopt(client, SOL_SOCKET, SO_PEERCRED, &who, &size);
        printf("the client sees %d, its parent: %d, %u:%u\n", size, who.pid == getppid(), who.uid,
               who.gid);
        fflush(stdout);
        write(client, "x", 1);
        read(client, ready, 1);
        _exit(0);
    }
    int connection = accept(server, NULL, NULL);
    char byte;
    read(connection, &byte, 1);
    struct ucred who;
    socklen_t size = sizeof who;
    getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &who, &size);
    printf("the server sees %d, its child: %d, %u:%u\n", size, who.pid == pid, who.uid, who.gid);
    gid_t groups[8];
    size = sizeof groups;
    printf("groups: %d", getsockopt(connection, SOL_SOCKET, 59, groups, &size));
    for (unsigned i = 0; i < size / sizeof *groups; i++)
        printf(" %u", groups[i]);
    size = 4;
    printf("\nno room: %d", getsockopt(connection, SOL_SOCKET, 59, groups, &size));
    printf(" %s, needs %u\n", strerror(errno), size);
    size = 6;
    printf("cut: %d", getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &who, &size));
    printf(" %u\n", size);
    close(connection);
    waitpid(pid, NULL, 0);
}

static void limits(void)
{
    struct rlimit limit = {7, 7};
    printf("RLIMIT_LOCKS is no limit: %d", getrlimit(10, &limit));
    printf(" %d\n", limit.rlim_cur == RLIM_INFINITY && limit.rlim_max == RLIM_INFINITY);
}

static void in_child(void (*function)(void))
{
    fflush(stdout);
    if (fork() == 0) {
        function();
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
}

int main(void)
{
    alarm(30);
    close(open("file", O_CREAT | O_WRONLY, 0644));
    in_child(threads);
    vforked();
    in_child(undumpable);
    in_child(peers);
    in_child(limits);
    in_child(by_descriptor);
    show("alias of nothing", "alias");
    return 0;
}
