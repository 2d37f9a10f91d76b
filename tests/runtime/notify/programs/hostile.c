/* hostile WHAT: make calls that attack a supervisor, which reads their arguments from this process.
 *
 *    sizes    strings without an end, structures that do not exist, absurd sizes
 *    faults   arguments in memory whose page faults this process must answer, userfaultfd(2)
 *    races    paths that change during the call: a program, a FIFO, a link to itself
 *
 * Prints the answers.  They are the same without a supervisor. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PAGE 4096

/* From linux/userfaultfd.h, which musl lacks. */
#define UFFD_USER_MODE_ONLY 1
#define UFFD_API 0xAA
#define UFFDIO_API _IOWR(UFFD_API, 0x3F, struct uffdio_api)
#define UFFDIO_REGISTER _IOWR(UFFD_API, 0, struct uffdio_register)
#define UFFDIO_REGISTER_MODE_MISSING 1
struct uffdio_api {
    unsigned long long api, features, ioctls;
};
struct uffdio_register {
    unsigned long long start, len, mode, ioctls;
};

static void told(const char *what, long result)
{
    printf("%s: %s\n", what, result < 0 ? strerror(errno) : "done");
}

/* Return a pointer to the end of readable memory; `before` readable bytes are before it. */
static char *end_of_memory(size_t before)
{
    size_t size = (before + PAGE - 1) / PAGE * PAGE;
    char *memory = mmap(NULL, size + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        exit(3);
    munmap(memory + size, PAGE);
    memset(memory, 'x', size);
    return memory + size;
}

static void try_strings(const char *kind, const char *text)
{
    struct stat st;
    char value[8];
    printf("%s\n", kind);
    told("stat", syscall(SYS_stat, text, &st));
    told("newfstatat", syscall(SYS_newfstatat, AT_FDCWD, text, &st, 0));
    told("chown", syscall(SYS_chown, text, 5, 6));
    told("mknod", syscall(SYS_mknod, text, S_IFCHR | 0600, 0x103));
    told("execve", syscall(SYS_execve, text, NULL, NULL));
    told("link", syscall(SYS_link, text, "linked"));
    told("setxattr, path", syscall(SYS_setxattr, text, "trusted.a", "", 0, 0));
    told("setxattr, name", syscall(SYS_setxattr, "file", text, "", 0, 0));
    told("getxattr, name", syscall(SYS_getxattr, "file", text, value, sizeof value));
    told("symlink", syscall(SYS_symlink, text, text));
    told("chroot", syscall(SYS_chroot, text));
}

static void sizes(void)
{
    struct stat *low = (void *)(end_of_memory(PAGE) - 8);
    char *megabyte = malloc(1 << 20), *last = end_of_memory(PAGE), *pages = end_of_memory(4 * PAGE);
    memset(megabyte, '/', 1 << 20);
    megabyte[(1 << 20) - 1] = 0;

    try_strings("no end, one byte", last - 1);
    try_strings("no end, a page", last - PAGE);
    try_strings("no end, more than a path", pages - 4 * PAGE);
    try_strings("a megabyte", megabyte);
    try_strings("nowhere", (char *)8);
    try_strings("the kernel's", (char *)-PAGE);

    int fd = open("file", O_RDWR), directory = open(".", O_RDONLY);
    int channel = socket(AF_UNIX, SOCK_STREAM, 0);
    puts("structures");
    told("stat", syscall(SYS_stat, "file", low));
    told("statx", syscall(SYS_statx, AT_FDCWD, "file", 0, 0x7ff, low));
    told("setgroups, none there", syscall(SYS_setgroups, 65536, last - 4));
    told("setgroups, too many", syscall(SYS_setgroups, 0x7fffffff, last - 4));
    told("setgroups, negative", syscall(SYS_setgroups, -1, last - 4));
    told("getgroups, negative", syscall(SYS_getgroups, -1, last - 4));
    told("getresuid", syscall(SYS_getresuid, last - 4, last, last));
    told("capset", syscall(SYS_capset, last - 8, last));
    told("setxattr, huge", syscall(SYS_fsetxattr, fd, "trusted.a", last - 1, 1ul << 62, 0));
    told("setxattr, too much", syscall(SYS_fsetxattr, fd, "trusted.a", last - 1, 65537, 0));
    told("setxattr, not there", syscall(SYS_fsetxattr, fd, "trusted.a", last - 1, 65536, 0));
    told("listxattr, none there", syscall(SYS_flistxattr, fd, last, -1ul) < 0 ? -1 : 0);
    told("getdents64, none there", syscall(SYS_getdents64, directory, last, 0x7fffffff));
    told("bind, huge", syscall(SYS_bind, channel, last - 2, 0x7fffffff));
    told("bind, negative", syscall(SYS_bind, channel, last - 2, -1));
    told("openat2, huge", syscall(SYS_openat2, AT_FDCWD, "new", last - 24, 1ul << 62));
    told("openat2, small", syscall(SYS_openat2, AT_FDCWD, "new", last - 24, 8));
    told("getsockopt", syscall(SYS_getsockopt, channel, SOL_SOCKET, SO_PEERCRED, last, last - 4));
}

/* The program answers only the page faults that it causes itself, unless the administrator allows
 * more.  Page faults of the kernel, and so of the supervisor, are errors. */
static void faults(void)
{
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register range = {.mode = UFFDIO_REGISTER_MODE_MISSING};
    int fd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    char *memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    range.start = (unsigned long)memory;
    range.len = 4 * PAGE;
    if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &range) < 0) {
        perror("userfaultfd");
        exit(3);
    }
    try_strings("faults", memory);
    told("stat, written", syscall(SYS_stat, "file", memory));
    told("setgroups", syscall(SYS_setgroups, 100, memory));
    told("setxattr", syscall(SYS_setxattr, "file", "trusted.a", memory, 100, 0));
    told("getresuid", syscall(SYS_getresuid, memory, memory, memory));
}

static volatile int done;

/* Replace the file at `path` again and again: each file stays for a few microseconds. */
static void *swap(void *unused)
{
    while (!done) {
        syscall(SYS_renameat2, AT_FDCWD, "target", AT_FDCWD, "fifo", RENAME_EXCHANGE);
        syscall(SYS_renameat2, AT_FDCWD, "target", AT_FDCWD, "loop", RENAME_EXCHANGE);
    }
    return unused;
}

static void races(int rounds)
{
    pthread_t swapper;
    struct stat st;
    static char *const arguments[] = {"target", "-c", ":", NULL};
    if (mkfifo("fifo", 0755) < 0 || symlink("loop", "loop") < 0 ||
        pthread_create(&swapper, NULL, swap, NULL) != 0)
        exit(3);
    for (int i = 0; i < rounds; i++) {
        pid_t child = vfork();
        if (child == 0) {
            /* The supervisor looks at a program before the program starts. */
            syscall(SYS_execve, "target", arguments, NULL);
            _exit(0);
        }
        waitpid(child, NULL, 0);
        syscall(SYS_stat, "target", &st);
        syscall(SYS_lchown, "target", i, i);
        syscall(SYS_chmod, "target", 0755);
        syscall(SYS_open, "target", O_WRONLY | O_NONBLOCK | O_TRUNC, 0);
    }
    done = 1;
    pthread_join(swapper, NULL);
    puts("done");
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    if (!strcmp(argv[1], "sizes"))
        sizes();
    else if (!strcmp(argv[1], "faults"))
        faults();
    else if (!strcmp(argv[1], "races") && argc > 2)
        races(atoi(argv[2]));
    return 0;
}
