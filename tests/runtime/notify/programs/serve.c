/* serve PLACE COMMAND...: mount a file system of FUSE on the directory PLACE, and run a command.
 * serve -n PLACE COMMAND...: the same by fsopen(2) and its family.
 * serve FILE: use each page of a file as the arguments of calls, and count them.
 *
 * The file system has one file, `busybox`, which is /bin/busybox.  Its daemon has one thread, and
 * makes a call that a supervisor must answer before it answers a request.  The kernel keeps no
 * answer.  The daemon ends after SECONDS_LIMIT, so that nobody waits for it for ever.  The layouts are those of linux/fuse.h, protocol 7.31, which musl lacks. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOKUP = 1, FORGET = 2, GETATTR = 3, SETATTR = 4, OPEN = 14, READ = 15, STATFS = 17, RELEASE = 18 };
enum { FLUSH = 25, INIT = 26, OPENDIR = 27, READDIR = 28, RELEASEDIR = 29, ACCESS = 34 };
enum { INTERRUPT = 36, BATCH_FORGET = 42 };
enum { ROOT = 1, PROGRAM = 2 };
#define MESSAGE (1 << 17)
#define SECONDS_LIMIT 20
#define PAGE 4096
/* linux/mount.h; the numbers of these calls are the same everywhere. */
enum { SYS_MOVE_MOUNT = 429, SYS_FSOPEN, SYS_FSCONFIG, SYS_FSMOUNT };
enum { SET_STRING = 1, CMD_CREATE = 6, EMPTY_PATH = 4 };

struct in {
    uint32_t length, kind;
    uint64_t unique, node;
    uint32_t uid, gid, pid, padding;
};
struct attributes {
    uint64_t inode, size, blocks, times[3];
    uint32_t nanoseconds[3], mode, links, uid, gid, device, block, flags;
};
struct entry {
    uint64_t node, generation, valid[2];
    uint32_t nanoseconds[2];
    struct attributes attributes;
};
struct status {
    uint64_t valid;
    uint32_t nanoseconds, padding;
    struct attributes attributes;
};
struct greeting {
    uint32_t major, minor, readahead, flags;
    uint16_t background, threshold;
    uint32_t size, granularity, unused[9];
};
struct reading {
    uint64_t handle, offset;
    uint32_t size, flags;
};
struct name {
    uint64_t inode, next;
    uint32_t length, type;
    char text[8];
};
static struct {
    uint32_t length;
    int32_t error;
    uint64_t unique;
    char data[MESSAGE];
} out;

static void fail(const char *what)
{
    perror(what);
    exit(3);
}

static struct attributes attributes(uint64_t node, const struct stat *program)
{
    struct attributes found = {.inode = node, .mode = S_IFDIR | 0755, .links = 2, .block = 512};
    if (node == PROGRAM) {
        found.mode = S_IFREG | 0755;
        found.links = 1;
        found.size = program->st_size;
    }
    return found;
}

/* Put the answer to a request into `out`; return its size, or a negated errno. */
static long answer(const struct in *in, const char *data, int program)
{
    struct stat st;
    struct reading reading;
    stat("/bin/busybox", &st); /* the supervisor must answer */
    switch (in->kind) {
    case INIT: {
        struct greeting greeting = {.major = 7, .minor = 31, .size = 4096};
        memcpy(out.data, &greeting, sizeof greeting);
        return sizeof greeting;
    }
    case LOOKUP: {
        struct entry entry = {.node = PROGRAM, .attributes = attributes(PROGRAM, &st)};
        if (strcmp(data, "busybox"))
            return -ENOENT;
        memcpy(out.data, &entry, sizeof entry);
        return sizeof entry;
    }
    case GETATTR:
    case SETATTR: {
        struct status status = {.attributes = attributes(in->node, &st)};
        memcpy(out.data, &status, sizeof status);
        return sizeof status;
    }
    case OPEN:
    case OPENDIR:
        memset(out.data, 0, 16);
        return 16;
    case READ:
        memcpy(&reading, data, sizeof reading);
        return pread(program, out.data, reading.size, reading.offset);
    case READDIR: {
        struct name name = {PROGRAM, 1, 7, S_IFREG >> 12, "busybox"};
        memcpy(&reading, data, sizeof reading);
        memcpy(out.data, &name, sizeof name);
        return reading.offset ? 0 : sizeof name;
    }
    case STATFS:
        memset(out.data, 0, 80);
        return 80;
    case RELEASE:
    case RELEASEDIR:
    case FLUSH:
    case ACCESS:
        return 0;
    default:
        return -ENOSYS;
    }
}

static void serve(int device)
{
    static char buffer[MESSAGE];
    const struct in *in = (const void *)buffer;
    int program = open("/bin/busybox", O_RDONLY | O_CLOEXEC);
    while (read(device, buffer, sizeof buffer) > 0) {
        if (in->kind == FORGET || in->kind == BATCH_FORGET || in->kind == INTERRUPT)
            continue;
        long size = answer(in, buffer + sizeof *in, program);
        out.error = size < 0 ? size : 0;
        out.length = 16 + (size < 0 ? 0 : size);
        out.unique = in->unique;
        if (write(device, &out, out.length) < 0 && errno != ENOENT)
            fail("answer");
    }
}

/* A supervisor must not bring a page into memory: the daemon would have to. */
static void use_pages(const char *path)
{
    unsigned used = 0;
    struct stat st;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st))
        fail(path);
    char *memory = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (memory == MAP_FAILED)
        fail("mmap");
    for (; (used + 2) * PAGE <= st.st_size; used += 2) {
        stat(memory + used * PAGE, &st);
        if (fstat(fd, (void *)(memory + (used + 1) * PAGE)))
            fail("fstat");
    }
    printf("%d\n", used > 100);
}

static int mounted_by_parts(const char *place, const char *device)
{
    const char *options[][2] = {{"source", "serve"},  {"fd", device},      {"rootmode", "40000"},
                                {"user_id", "0"},     {"group_id", "0"}};
    int fs = syscall(SYS_FSOPEN, "fuse", 0);
    for (unsigned each = 0; each < 5; each++)
        if (syscall(SYS_FSCONFIG, fs, SET_STRING, options[each][0], options[each][1], 0))
            return -1;
    if (syscall(SYS_FSCONFIG, fs, CMD_CREATE, NULL, NULL, 0))
        return -1;
    int tree = syscall(SYS_FSMOUNT, fs, 0, 0);
    return syscall(SYS_MOVE_MOUNT, tree, "", AT_FDCWD, place, EMPTY_PATH);
}

int main(int argc, char **argv)
{
    bool is_new = argc > 1 && !strcmp(argv[1], "-n");
    argv += is_new;
    argc -= is_new;
    if (argc == 2) {
        use_pages(argv[1]);
        return 0;
    }
    char options[100];
    int device = open("/dev/fuse", O_RDWR | O_CLOEXEC), status;
    if (argc < 3 || device < 0)
        fail("/dev/fuse");
    if (is_new) {
        snprintf(options, sizeof options, "%d", device);
        if (mounted_by_parts(argv[1], options))
            fail("fsopen");
    } else {
        snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
        if (mount("serve", argv[1], "fuse.serve", 0, options))
            fail("mount");
    }
    pid_t daemon = fork();
    if (daemon == 0) {
        alarm(SECONDS_LIMIT);
        serve(device);
        _exit(0);
    }
    close(device);
    pid_t command = fork();
    if (command == 0) {
        execvp(argv[2], argv + 2);
        fail(argv[2]);
    }
    waitpid(command, &status, 0);
    umount2(argv[1], MNT_DETACH);
    waitpid(daemon, NULL, 0);
    return WEXITSTATUS(status);
}
