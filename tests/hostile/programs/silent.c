/* Be a FUSE daemon that does not answer: `silent=HOW`, `mark=SOURCE` of the mount.
 *
 * `itself`    threads wait for another one of the same process
 * `detached`  the same, and the mount is unmounted lazily, so that no path leads to it
 * `inside`    the same, in a mount below another one of FUSE, whose daemon ends when it is killed
 * `daemon`    another process waits; all signals are ignored
 * `proc`      as `itself`, and whoever looks into /proc/self/stat by that name waits for ever
 *
 * It prints `now` when the kernel waits.
 */

#include "attacker.h"

#include <linux/fuse.h>
#include <pthread.h>

#define MESSAGE (1 << 17)

static int mounted(const char *place) {
    static char buffer[MESSAGE];
    char options[128];
    mkdir("/mnt", 0755);
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%d,group_id=%d", fd, geteuid(),
             getegid());
    if (fd < 0 || mount(argument("mark"), place, "fuse", 0, options)) {
        printf("no fuse: %s\n", strerror(errno));
        exit(1);
    }
    if (read(fd, buffer, sizeof buffer) < 0)
        exit(1);
    struct {
        struct fuse_out_header header;
        struct fuse_init_out init;
    } out = {{sizeof out, 0, ((struct fuse_in_header *)buffer)->unique},
             {.major = 7, .minor = 31, .max_readahead = 4096, .max_write = 4096}};
    if (write(fd, &out, sizeof out) < 0)
        exit(1);
    return fd;
}

/* Answer that each name is a directory; the kernel shall ask again each time. */
static void *find_names(void *device) {
    static char buffer[MESSAGE];
    int fd = *(int *)device;
    struct fuse_in_header *in = (void *)buffer;
    while (read(fd, buffer, sizeof buffer) > 0) {
        struct {
            struct fuse_out_header header;
            struct fuse_entry_out entry;
        } out = {{sizeof out, 0, in->unique},
                 {.nodeid = 2, .attr = {.ino = 2, .mode = S_IFDIR | 0755, .nlink = 2}}};
        if (in->opcode == FUSE_LOOKUP && write(fd, &out, sizeof out) < 0)
            exit(1);
    }
    return NULL;
}

/* A supervisor makes this call in place of the thread. */
static void *look(void *name) {
    struct stat status;
    stat(name, &status);
    return NULL;
}

/* No supervisor does that. */
static void *read_file(void *name) {
    open(name, O_RDONLY | O_CLOEXEC);
    return NULL;
}

void be_silent(const char *how) {
    static char buffer[MESSAGE], *name = "/mnt/x";
    static int outer;
    pthread_t thread;
    int fd = mounted("/mnt");
    if (!strcmp(how, "inside")) {
        outer = fd;
        pthread_create(&thread, NULL, find_names, &outer);
        fd = mounted("/mnt/sub");
        name = "/mnt/sub/x";
    }
    if (!strcmp(how, "proc")) { /* Python looks there when it forks */
        if (mount("none", "/proc", "tmpfs", 0, NULL) || mkdir("/proc/self", 0755)
            || mkfifo("/proc/self/stat", 0600))
            exit(1);
    }
    if (!strcmp(how, "daemon")) {
        for (int number = 1; number < 65; number++)
            signal(number, SIG_IGN);
        if (!fork()) {
            close(fd);
            look(name);
            _exit(0);
        }
    } else {
        pthread_create(&thread, NULL, read_file, name);
        pthread_create(&thread, NULL, look, name);
        pthread_create(&thread, NULL, read_file, name);
    }
    struct fuse_in_header *in = (void *)buffer;
    do {
        if (read(fd, buffer, sizeof buffer) < 0)
            exit(1);
    } while (in->opcode != FUSE_LOOKUP);
    if (!strcmp(how, "detached"))
        umount2("/mnt", MNT_DETACH);
    printf("now\n");
    fflush(stdout);
    for (;;)
        read(fd, buffer, sizeof buffer);
}
