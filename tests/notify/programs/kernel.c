/* kernel NAME: calls that few programs make, but whose answers tell who somebody is. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void owner(const char *path)
{
    struct stat status;
    if (lstat(path, &status))
        printf("%s: %s\n", path, strerror(errno));
    else
        printf("%s: %u:%u %o\n", path, status.st_uid, status.st_gid, status.st_mode);
}

/* statx(2) returns owner and mode, asked for or not. */
static void masks(void)
{
    close(open("f", O_CREAT | O_WRONLY, 0644));
    if (chown("f", 5, 6))
        perror("chown");
    for (unsigned mask = 1; mask <= 0x800; mask <<= 1) {
        unsigned char buffer[256] = {0};
        unsigned ids[2];
        if (syscall(SYS_statx, AT_FDCWD, "f", 0, mask, buffer))
            perror("statx");
        memcpy(ids, buffer + 20, sizeof ids);
        printf("%#x: %u:%u\n", mask, ids[0], ids[1]);
    }
}

/* setfsuid(2) alone decides about the owner of new files. */
static void fsuid(void)
{
    chmod(".", 0777);
    setfsgid(6);
    setfsuid(5);
    close(open("f", O_CREAT | O_RDWR, 0644));
    mkdir("d", 0700);
    symlink("f", "l");
    mknod("p", S_IFIFO | 0600, 0);
    printf("%d %d\n", setfsuid(-1), setfsgid(-1));
    printf("chown: %s\n", chown("f", 7, 8) ? strerror(errno) : "done");
    setfsuid(0);
    setfsgid(0);
    close(open("g", O_CREAT | O_RDWR, 0644));
    for (const char *const *name = (const char *const[]){"f", "d", "l", "p", "g", NULL}; *name; name++)
        owner(*name);
}

/* Each change of an owner or a mode sends its events. */
static void events(void)
{
    int fd = inotify_init1(IN_NONBLOCK);
    char buffer[4096];
    close(open("f", O_CREAT | O_WRONLY, 04755));
    chmod("f", 04755);
    inotify_add_watch(fd, "f", IN_ATTRIB);
    for (int step = 0; step < 8; step++) {
        int failed;
        switch (step) {
        case 0: failed = chown("f", 5, 6); break;
        case 1: failed = chown("f", 5, 6); break;
        case 2: failed = chown("f", -1, -1); break;
        case 3: failed = chmod("f", 0755); break;
        case 4: failed = chmod("f", 06755); break;
        case 5: failed = chown("f", 7, -1); break;
        case 6: failed = chown("f", 0, 0); break;
        default: failed = chmod("f", 0600); break;
        }
        ssize_t size = read(fd, buffer, sizeof buffer);
        printf("%d: %d %zd\n", step, failed, size < 0 ? 0 : size / (ssize_t)sizeof(struct inotify_event));
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } rows[] = {{"masks", masks}, {"fsuid", fsuid}, {"events", events}};
    for (unsigned at = 0; at < sizeof rows / sizeof *rows; at++)
        if (argc == 2 && strcmp(argv[1], rows[at].name) == 0)
            return rows[at].run(), 0;
    return 2;
}
