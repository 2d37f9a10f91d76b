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

/* keyctl(2): who owns a key in the process's own keyring, which the process possesses all along. */
static void keys(void)
{
    enum { CHOWN = 4, SETPERM, DESCRIBE, PROCESS_KEYRING = -2, REVOKE = 3 };
    char text[200];
    const char *data = "x";
    long key = syscall(SYS_add_key, "user", "a;key", data, 1UL, PROCESS_KEYRING), length;
    static const struct { unsigned uid, gid; int is_user; } steps[] = {
        {0, 0, 0}, {1000, 1001, 0}, {-1, -1, 0}, {-1, 5, 0}, {7, -1, 0}, {7, 6, 1}, {7, -1, 1},
        {9, 6, 1}, {-1, 8, 1}, {5, 5, 0}, {5, 6, 1}, {-1, 6, 1}, {0, 0, 0},
    };
    if (key < 0)
        perror("add_key");
    for (unsigned at = 0; at < sizeof steps / sizeof *steps; at++) {
        if (steps[at].is_user && (setresgid(6, 6, 0) || setresuid(7, 7, 0)))
            perror("become");
        printf("%d:%d%s: ", (int)steps[at].uid, (int)steps[at].gid, steps[at].is_user ? " by 7" : "");
        printf("%s, ", syscall(SYS_keyctl, CHOWN, key, steps[at].uid, steps[at].gid)
                       ? strerror(errno) : "done");
        printf("%s, ", syscall(SYS_keyctl, SETPERM, key, 0x3f1f0000) ? strerror(errno) : "done");
        memset(text, 0, sizeof text);
        length = syscall(SYS_keyctl, DESCRIBE, key, text, sizeof text);
        printf("%s %d, ", length < 0 ? strerror(errno) : text, length == (long)strlen(text) + 1);
        memset(text, 0, sizeof text);
        printf("%d %s\n", syscall(SYS_keyctl, DESCRIBE, key, text, 3UL) == length, text);
        if (steps[at].is_user && (setresuid(0, 0, 0) || setresgid(0, 0, 0)))
            perror("return");
    }
    printf("%s\n", syscall(SYS_keyctl, CHOWN, 0x7ffffff0, 5, 5) ? strerror(errno) : "done");
    syscall(SYS_keyctl, REVOKE, key);
    printf("%s\n", syscall(SYS_keyctl, CHOWN, key, 5, 5) ? strerror(errno) : "done");
    printf("%s\n", syscall(SYS_keyctl, DESCRIBE, key, text, 9UL) < 0 ? strerror(errno) : "done");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } rows[] = {{"masks", masks}, {"fsuid", fsuid}, {"events", events}, {"keys", keys}};
    for (unsigned at = 0; at < sizeof rows / sizeof *rows; at++)
        if (argc == 2 && strcmp(argv[1], rows[at].name) == 0)
            return rows[at].run(), 0;
    return 2;
}
