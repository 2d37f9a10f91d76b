/* The container's inheritance: descriptors, standard streams, the working directory. */

#include "attacker.h"

static void inherited_descriptors(void) {
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;
    char link[PATH_SIZE];
    if (!directory)
        return;
    while ((entry = readdir(directory))) {
        int fd = atoi(entry->d_name);
        if (fd <= 2 || fd == dirfd(directory))
            continue;
        ssize_t got = readlinkat(dirfd(directory), entry->d_name, link, sizeof link - 1);
        reached("%d is %.*s", fd, got < 0 ? 0 : (int)got, link);
    }
    errno = EBADF;
    refused("descriptor 3");
}

static void inherited_directories(void) {
    for (int fd = 3; fd < 64; fd++)
        loot(fd, "descriptor as a directory");
}

/* A file or a terminal that was opened only for writing must stay so; a pipe holds nothing. */
static void reopened_streams(void) {
    static const int modes[] = {O_RDONLY, O_RDWR, O_WRONLY | O_TRUNC};
    for (int fd = 0; fd <= 2; fd++) {
        for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
            char path[64];
            struct stat status;
            snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
            int again = open(path, modes[i] | O_NONBLOCK | O_NOCTTY);
            if (again < 0 || fstat(again, &status)) {
                refused(path);
                continue;
            }
            bool is_null = S_ISCHR(status.st_mode) && status.st_rdev == 0x103;
            errno = ENODATA;
            if (S_ISFIFO(status.st_mode) || is_null)
                refused("a pipe, or /dev/null");
            else
                reached("%d opened with mode %d is of type 0%o", fd, modes[i],
                        status.st_mode & S_IFMT);
            close(again);
        }
    }
}

static void read_streams(void) {
    char byte;
    for (int fd = 0; fd <= 2; fd++) {
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        ssize_t got = read(fd, &byte, 1);
        int error = errno;
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
        errno = got == 0 ? ENODATA : error;
        if (got > 0)
            reached("read from %d", fd);
        else
            refused("read");
    }
}

static void seek_streams(void) {
    for (int fd = 1; fd <= 2; fd++) {
        tried(lseek(fd, 0, SEEK_SET), "lseek of %d", fd);
        tried(ftruncate(fd, 0), "ftruncate of %d", fd);
    }
}

static void streams_are_terminals(void) {
    for (int fd = 0; fd <= 2; fd++)
        tried(isatty(fd) ? 0 : -1, "%d is a terminal", fd);
}

static void controlling_terminal(void) {
    tried(open("/dev/tty", O_RDWR), "/dev/tty");
}

static void dot_dot(void) {
    int fd = open(".", O_PATH | O_DIRECTORY);
    for (int i = 0; i < 100 && fd >= 0; i++) {
        int up = openat(fd, "..", O_PATH | O_DIRECTORY);
        close(fd);
        fd = up;
        loot(fd, "..");
    }
    loot(open("/", O_PATH), "/");
    loot(open("/proc/self/root", O_PATH), "/proc/self/root");
    loot(open("/proc/self/cwd/..", O_PATH), "/proc/self/cwd/..");
}

static void chroot_with_a_descriptor_kept(void) {
    for (int nested = 0; nested < 2; nested++) {
        if (nested && !enter_nested(0))
            return;
        int fd = open("/", O_PATH | O_DIRECTORY);
        if (chroot("/proc") && chroot("/dev")) {
            refused("chroot");
            continue;
        }
        if (fchdir(fd))
            refused("fchdir");
        for (int i = 0; i < 100; i++)
            if (chdir(".."))
                break;
        loot(AT_FDCWD, "above a chroot");
        if (!chroot("."))
            loot(AT_FDCWD, "in the chroot above");
    }
}

const struct attack attacks_on_descriptors[] = {
    {"inherited-descriptors", inherited_descriptors},
    {"inherited-directories", inherited_directories},
    {"streams-reopened", reopened_streams},
    {"streams-read", read_streams},
    {"streams-sought-and-cut", seek_streams},
    {"streams-are-terminals", streams_are_terminals},
    {"controlling-terminal", controlling_terminal},
    {"dot-dot", dot_dot},
    {"chroot-with-a-descriptor-kept", chroot_with_a_descriptor_kept},
    {0},
};
