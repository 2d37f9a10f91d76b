/* permissions SEED ROUNDS [strict]: change files as random users, and print what each call says.
 *
 * Run it as root in an empty directory.  In each round root changes some owners and modes, and a
 * child that has become another user, perhaps with some capabilities, makes random calls.  Then
 * root prints the tree.  It prints the same for real root and for any user under a correct
 * emulation.  With "strict" the children also open files for reading. */
#define _GNU_SOURCE
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#include "steps.h"

#define ANY(array) (array)[pick(COUNT(array))]

static const char *const names[] = {
    "a",    "b",     "d0",    "d1",   "d0/a",    "d0/b",    "d0/d2", "d1/a",     "d1/b",
    "l0",   "d1/l1", "d0/l2", "t/l3", "d0/d2/a", "d0/d2/b", "t",     "t/a",      "t/b",
    "t/d3", "l0/a",  "t/d3/a", "d0/", "./a",     "d1/../a", ".",     "d0/d2/..", "l0/"};
static const uid_t uids[] = {0, 104, 104, 105};
static const gid_t gids[] = {0, 106, 106, 4};
static const mode_t file_modes[] = {0644, 0600, 0666, 0, 0640, 0444, 0755, 0711, 0604, 0060};
static const mode_t directory_modes[] = {0755, 0777, 0700,  01777, 0711, 0,
                                         0775, 0770, 01770, 02775, 0733, 0744};

/* What root has opened with O_PATH for the child, or -1; and the working directory. */
static int given, home;

/* The processes that get signals, and the users that they are. */
static pid_t targets[4];

static mode_t mode_for(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? ANY(directory_modes) : ANY(file_modes);
}

static void result(long value)
{
    if (value < 0)
        printf(" = %s\n", strerror(errno));
    else
        printf(" = ok\n");
}

static size_t random_acl(unsigned char *out)
{
    size_t length = 4;
    memcpy(out, "\2\0\0\0", 4);
    uint32_t who[] = {-1u, ANY(uids), -1u, ANY(gids), -1u, -1u};
    static const uint16_t tags[] = {1, 2, 4, 8, 16, 32};
    for (unsigned i = 0; i < COUNT(tags); i++) {
        uint16_t tag = htole16(tags[i]), permissions = htole16(pick(8));
        uint32_t whose = htole32(who[i]);
        memcpy(out + length, &tag, 2);
        memcpy(out + length + 2, &permissions, 2);
        memcpy(out + length + 4, &whose, 4);
        length += 8;
    }
    return length;
}

static void set_acl(const char *path, const char *attribute)
{
    unsigned char value[256];
    size_t length = random_acl(value);
    printf("acl %s %s", path, attribute);
    result(setxattr(path, attribute, value, length, 0));
}

static void set_times(const char *path)
{
#ifdef SYS_utime
    struct utimbuf old = {1000, 1000};
    struct timeval old_times[2] = {{1000, 0}, {1000, 0}};
#endif
    struct timespec now = {0, UTIME_NOW}, omit = {0, UTIME_OMIT}, past = {1000, 0};
    struct timespec choices[] = {now, omit, past};
    struct timespec times[] = {ANY(choices), ANY(choices)};
    int flags = pick(4) ? 0 : AT_SYMLINK_NOFOLLOW, fd;
    printf("times %s %ld %ld %d", path, times[0].tv_nsec, times[1].tv_nsec, flags);
    switch (pick(6)) {
    case 0: result(syscall(SYS_utimensat, AT_FDCWD, path, NULL, flags)); break;
#ifdef SYS_utime /* aarch64 and riscv64 have utimensat(2) alone */
    case 1: result(syscall(SYS_utime, path, pick(2) ? &old : NULL)); break;
    case 2: result(syscall(SYS_utimes, path, pick(2) ? old_times : NULL)); break;
    case 3: result(syscall(SYS_futimesat, AT_FDCWD, path, pick(2) ? old_times : NULL)); break;
#endif
    case 4:
        fd = open(path, O_CREAT | O_WRONLY | O_NONBLOCK, 0644);
        printf(" %s", fd < 0 ? "closed" : "open");
        result(futimens(fd, times));
        close(fd);
        break;
    default: result(syscall(SYS_utimensat, AT_FDCWD, path, times, flags));
    }
}

static void send_signal(void)
{
    unsigned which = pick(COUNT(targets) + 3);
    int signum = pick(4) ? 0 : SIGCONT;
    printf("kill %u %d", which, signum);
    if (which < COUNT(targets)) {
        if (pick(3) == 0) {
            int fd = syscall(SYS_pidfd_open, targets[which], 0);
            result(syscall(SYS_pidfd_send_signal, fd, signum, NULL, 0));
            close(fd);
        } else {
            result(kill(targets[which], signum));
        }
    } else if (which == COUNT(targets)) {
        result(kill(-1, signum));
    } else if (which == COUNT(targets) + 1) {
        result(kill(-targets[0], signum)); /* the group of root and of 104 */
    } else {
        result(kill(pick(2) ? 0 : 1 << 22, signum));
    }
}

static void create(const char *path)
{
    static const int ways[] = {O_RDONLY, O_WRONLY, O_RDWR, O_WRONLY | O_TRUNC, O_RDWR | O_EXCL,
                               O_WRONLY | O_APPEND, O_RDONLY | O_TRUNC, O_WRONLY | O_NOFOLLOW,
                               O_RDONLY | O_NOATIME};
    int flags = ANY(ways) | O_CREAT | O_NONBLOCK;
    printf("create %s %o", path, flags);
    int fd = open(path, flags, ANY(file_modes));
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0)
        printf(" %o %u:%u", st.st_mode, st.st_uid, st.st_gid);
    result(fd);
    close(fd);
}

static void attribute(const char *path)
{
    char value[64];
    static const char *const names_of[] = {"user.u", "user.v"};
    const char *name = ANY(names_of);
    int way = pick(4);
    printf("attribute %d %s %s", way, path, name);
    switch (way) {
    case 0: result(setxattr(path, name, "x", 1, 0)); break;
    case 1: result(getxattr(path, name, value, sizeof value)); break;
    case 2: result(removexattr(path, name)); break;
    case 3: result(listxattr(path, value, sizeof value)); break;
    }
}

static void step(int strict)
{
    const char *path = ANY(names), *other = ANY(names);
    int fd;
    switch (pick(strict ? 28 : 25)) {
    case 0: printf("mkdir %s", path), result(mkdir(path, ANY(directory_modes))); break;
    case 1: printf("mkfifo %s", path), result(mkfifo(path, ANY(file_modes))); break;
    case 2: printf("symlink %s %s", other, path), result(symlink(other, path)); break;
    case 3: printf("link %s %s", path, other), result(link(path, other)); break;
    case 4:
    case 5:
    case 6: create(path); break;
    case 7: printf("truncate %s", path), result(truncate(path, pick(3))); break;
    case 8:
        printf("open-truncate %s", path);
        result(fd = open(path, O_TRUNC | O_WRONLY | O_NONBLOCK));
        close(fd);
        break;
    case 9:
    case 10: printf("unlink %s", path), result(unlink(path)); break;
    case 11: printf("rmdir %s", path), result(rmdir(path)); break;
    case 12:
    case 13: printf("rename %s %s", path, other), result(rename(path, other)); break;
    case 14: {
        static const int flags[] = {RENAME_NOREPLACE, RENAME_EXCHANGE};
        int flag = ANY(flags);
        printf("rename %s %s %d", path, other, flag);
        result(syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, other, flag));
        break;
    }
    case 15: set_times(path); break;
    case 16: attribute(path); break;
    case 17: send_signal(); break;
    case 18: {
        mode_t mode = ANY(file_modes);
        printf("chmod %s %o", path, mode), result(chmod(path, mode));
        break;
    }
    case 19: {
        uid_t uid = pick(2) ? -1u : ANY(uids);
        gid_t gid = ANY(gids);
        printf("chown %s %d %d", path, uid, gid), result(chown(path, uid, gid));
        break;
    }
    case 20:
    case 21: {
        int wanted = pick(8);
        printf("access %s %d", path, wanted), result(access(path, wanted));
        break;
    }
    case 22: {
        int wanted = pick(8), flags = pick(2) ? AT_EACCESS : AT_SYMLINK_NOFOLLOW;
        printf("faccessat2 %s %d %x", path, wanted, flags);
        result(syscall(439, AT_FDCWD, path, wanted, flags));
        printf("faccessat2 descriptor %d %x", wanted, flags);
        result(syscall(439, given, "", wanted, flags | AT_EMPTY_PATH));
        break;
    }
    case 23: {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            char *arguments[] = {"x", NULL};
            const char *program = pick(3) ? "x" : pick(2) ? "d1/x" : path;
            execv(program, arguments);
            printf("exec %s", program), result(-1);
            fflush(stdout);
            _exit(0);
        }
        waitpid(child, NULL, 0);
        break;
    }
    case 24: {
        printf("chdir %s", path), result(chdir(path));
        printf("fchdir"), result(fchdir(home));
        break;
    }
    case 25:
    case 26: {
        static const int ways[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY | O_DIRECTORY,
                                   O_RDONLY | O_NOATIME, O_RDONLY | O_NOFOLLOW, O_WRONLY | O_APPEND};
        int flags = ANY(ways) | O_NONBLOCK;
        printf("open %s %o", path, flags), result(fd = open(path, flags));
        close(fd);
        break;
    }
    case 27: {
        struct { uint64_t flags, mode, resolve; } how = {pick(3), 0, 0};
        printf("openat2 %s %u", path, (unsigned)how.flags);
        how.flags |= O_NONBLOCK;
        result(fd = syscall(437, AT_FDCWD, path, &how, sizeof how));
        close(fd);
        break;
    }
    }
}

/* Install a program that says that it ran. */
static void make_program(const char *path)
{
    static const mode_t modes[] = {0755, 0700, 0711, 0644, 0070, 0754, 0};
    char buffer[65536];
    unlink(path);
    int from = open("/proc/self/exe", O_RDONLY), to = open(path, O_CREAT | O_EXCL | O_WRONLY, 0700);
    for (ssize_t got; (got = read(from, buffer, sizeof buffer)) > 0;)
        if (write(to, buffer, got) != got)
            break;
    close(from);
    close(to);
    uid_t uid = ANY(uids);
    printf("program %s %d", path, chown(path, uid, ANY(gids)));
    result(chmod(path, ANY(modes)));
}

/* What root does: mostly give files to others. */
static void arrange(void)
{
    const char *path = ANY(names);
    switch (pick(11)) {
    case 0:
    case 1:
    case 2: {
        uid_t uid = ANY(uids);
        gid_t gid = ANY(gids);
        printf("root chown %s %d %d", path, uid, gid), result(chown(path, uid, gid));
        break;
    }
    case 3:
    case 4: {
        mode_t mode = mode_for(path);
        printf("root chmod %s %o", path, mode), result(chmod(path, mode));
        break;
    }
    case 5: printf("root mkdir %s", path), result(mkdir(path, ANY(directory_modes))); break;
    case 6: set_acl(path, pick(4) ? "system.posix_acl_access" : "system.posix_acl_default"); break;
    case 7: make_program(pick(2) ? "x" : "d1/x"); break;
    default: {
        int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, ANY(file_modes));
        printf("root create %s", path), result(fd);
        if (fd >= 0 && write(fd, "content", 7) < 0)
            perror(path);
        close(fd);
    }
    }
}

static void become_somebody(void)
{
    gid_t groups[2] = {ANY(gids), ANY(gids)}, gid = ANY(gids);
    uid_t uid = ANY(uids), effective = pick(6) ? uid : ANY(uids);
    unsigned count = pick(3);
    uint32_t capabilities = 0;
    static const int some[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
                               CAP_KILL};
    while (pick(3) == 0)
        capabilities |= 1u << ANY(some);
    if (setgroups(count, groups) || setresgid(gid, gid, gid) || prctl(PR_SET_KEEPCAPS, 1) ||
        setresuid(uid, effective, uid))
        perror("identity");
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{capabilities, capabilities, 0}, {0, 0, 0}};
    if (syscall(SYS_capset, &header, data))
        perror("capset");
    printf("user %d %d, group %d of %u: %d %d, capabilities %x\n", uid, effective, gid, count,
           groups[0], groups[1], capabilities);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void list(const char *directory)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, NULL, by_name);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char path[4096];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", directory, name);
        if (strcmp(name, ".") && strcmp(name, "..") && lstat(path, &st) == 0) {
            int shows_size = S_ISREG(st.st_mode) && strcmp(name, "x"); /* x is this program */
            printf("  %s %o %u:%u %u %ld\n", path, st.st_mode, st.st_uid, st.st_gid,
                   (unsigned)st.st_nlink, shows_size ? (long)st.st_size : 0);
            if (S_ISDIR(st.st_mode))
                list(path);
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

/* Start the processes that get signals: as root and 104 in one group, as 105, and as both. */
static void start_targets(void)
{
    static const uid_t real[] = {0, 104, 105, 104}, effective[] = {0, 104, 105, 105};
    for (unsigned i = 0; i < COUNT(targets); i++) {
        int ready[2];
        char byte;
        if (pipe(ready) < 0)
            exit(1);
        targets[i] = fork();
        if (targets[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            setpgid(0, i == 1 ? targets[0] : 0);
            if (setresuid(real[i], effective[i], effective[i]) || write(ready[1], "", 1) < 0)
                _exit(1);
            for (;;)
                pause();
        }
        if (read(ready[0], &byte, 1) != 1)
            exit(1);
        close(ready[0]);
        close(ready[1]);
    }
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        printf("ran as %d\n", geteuid());
        return 0;
    }
    if (argc < 3)
        return 2;
    int strict = argc > 3;
    state = strtoull(argv[1], NULL, 0) * 2654435761u + 1;
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    umask(0);
    home = open(".", O_PATH);
    start_targets();
    mkdir("d0", 0777);
    mkdir("d1", 0755);
    mkdir("d0/d2", 0755);
    mkdir("t", 0);
    chmod("t", 01777);
    for (unsigned rounds = atoi(argv[2]); rounds; rounds--) {
        printf("%u\n", rounds);
        for (unsigned steps = 1 + pick(6); steps; steps--)
            arrange();
        fflush(stdout);
        uint64_t next = state;
        pid_t child = fork();
        if (child == 0) {
            const char *path = ANY(names);
            given = open(path, O_PATH | O_NOFOLLOW);
            printf("descriptor of %s", path), result(given);
            become_somebody();
            for (unsigned steps = 1 + pick(12); steps; steps--)
                step(strict);
            fflush(stdout);
            _exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        if (status)
            printf("  child %d\n", status);
        list(".");
        state = next + rounds;
    }
    for (unsigned i = 0; i < COUNT(targets); i++)
        kill(targets[i], SIGKILL);
    return 0;
}
